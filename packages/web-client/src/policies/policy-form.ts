import {
  CHANNELS,
  type Channel,
  DEFAULT_POLICY,
  LIMITS,
  NUMBER_LIMITS,
  type NumberLimit,
  type PolicyDocument,
  type PolicyScope,
} from '@rap/session-policy'
import { COUNTS, DURATIONS, SIZES, type Unit, unitFor } from './units.ts'

/** What a person can say of one limit: nothing, "no limit", or a value. */
export const LIMIT_CHOICES = ['as_above', 'none', 'set'] as const
export type LimitChoice = (typeof LIMIT_CHOICES)[number]

/** What is said of one limit, and the value in a unit. */
export interface LimitForm {
  readonly choice: LimitChoice
  readonly amount: number | string
  /** Its size, as a string: the value of a select. */
  readonly unit: string
}

/** A policy document as the form has it. */
export interface PolicyForm {
  /** False: the channels are left to the scope above. */
  readonly decidesChannels: boolean
  readonly on: readonly Channel[]
  readonly limits: Readonly<Record<NumberLimit, LimitForm>>
  readonly kinds: { readonly choice: LimitChoice; readonly list: readonly string[] }
}

/** Where to begin with a limit that nothing limits yet. */
const SUGGESTED: Readonly<Partial<Record<NumberLimit, number>>> = { idle_seconds: 900, session_seconds: 28_800 }
const UNITS = { seconds: DURATIONS, bytes: SIZES, files: COUNTS } as const

export function unitsOf(name: NumberLimit): readonly Unit[] {
  return UNITS[LIMITS[name].unit]
}

/** True where "no limit" is something that may be said: of the organization, and of times. */
export function mayBeNone(name: NumberLimit, scope: PolicyScope): boolean {
  return scope === 'organization' && LIMITS[name].default === null
}

/** Fills the form. */
export function formOf(document: PolicyDocument, scope: PolicyScope): PolicyForm {
  const { channels, limits = {} } = document
  const kinds = limits.upload_extensions
  return {
    decidesChannels: channels !== undefined,
    // Below the organization what is not switched off is as above.
    on: channels ?? (scope === 'organization' ? DEFAULT_POLICY.channels : CHANNELS),
    limits: Object.fromEntries(
      NUMBER_LIMITS.map(name => [name, limitFormOf(name, limits[name])]),
    ) as PolicyForm['limits'],
    kinds: { choice: kinds === undefined ? 'as_above' : kinds === null ? 'none' : 'set', list: kinds ?? [] },
  }
}

function limitFormOf(name: NumberLimit, value: number | null | undefined): LimitForm {
  const { min, default: fallback } = LIMITS[name]
  const shown = value ?? fallback ?? SUGGESTED[name] ?? min
  const { size } = unitFor(shown, unitsOf(name))
  const choice = value === undefined ? 'as_above' : value === null ? 'none' : 'set'
  return { choice, amount: shown / size, unit: String(size) }
}

/** The document of a form that holds no mistake. */
export function documentOf({ decidesChannels, on, limits, kinds }: PolicyForm): PolicyDocument {
  const said: Record<string, unknown> = {}
  for (const name of NUMBER_LIMITS) {
    const { choice } = limits[name]
    if (choice !== 'as_above') said[name] = choice === 'none' ? null : writtenValue(limits[name])
  }
  if (kinds.choice !== 'as_above') said.upload_extensions = kinds.choice === 'none' ? null : kinds.list.map(plainKind)
  return {
    ...(decidesChannels && { channels: CHANNELS.filter(channel => on.includes(channel)) }),
    ...(Object.keys(said).length > 0 && { limits: said as NonNullable<PolicyDocument['limits']> }),
  }
}

/** The limit in its own unit. */
function writtenValue({ amount, unit }: LimitForm): number {
  return Math.round(Number(amount) * Number(unit))
}

/** What is wrong with a limit as it is written, for a person; undefined where nothing is. */
export function mistakeOf(name: NumberLimit, form: LimitForm): string | undefined {
  if (form.choice !== 'set') return undefined
  const { min, max } = LIMITS[name]
  const value = writtenValue(form)
  if (form.amount === '' || Number.isNaN(value)) return 'Enter a number'
  if (value < min) return `At least ${amountText(name, min)}`
  return value > max ? `At most ${amountText(name, max)}` : undefined
}

/** A limit in words: `15 minutes`, `10 GB`, `1,000 files`. */
export function amountText(name: NumberLimit, value: number | null): string {
  if (value === null) return 'no limit'
  const { label, size } = unitFor(value, unitsOf(name))
  const count = value / size
  const isOne = count === 1 && !/^[KMG]B$/.test(label)
  return `${count.toLocaleString()} ${isOne ? label.slice(0, -1) : label}`
}

/** An extension as people write it: `.PDF`, ` pdf `. */
export function plainKind(kind: string): string {
  return kind.trim().replace(/^\./, '').toLowerCase()
}

/** True for an extension that a policy may name; the empty one stands for a name without any. */
export function isKind(kind: string): boolean {
  return /^[a-z0-9_+-]{0,16}$/.test(plainKind(kind))
}
