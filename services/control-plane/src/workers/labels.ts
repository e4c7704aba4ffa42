import { Type } from '@sinclair/typebox'

/** Labels of workers and resources: short names with short values. */
export type Labels = Readonly<Record<string, string>>

const MAX_LABELS = 32

/** The JSON form, wherever labels come in. */
export const LabelsSchema = Type.Record(
  Type.String({ pattern: '^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$' }),
  Type.String({ maxLength: 128, pattern: '^[A-Za-z0-9._:/ -]*$' }),
  { additionalProperties: false, maxProperties: MAX_LABELS },
)

/** True when `given` carries every label of `wanted` with the same value. */
export function hasLabels(given: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([name, value]) => Object.hasOwn(given, name) && given[name] === value)
}
