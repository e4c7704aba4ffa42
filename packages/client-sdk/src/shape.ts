import type { Static, TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { RapError } from './errors.ts'

/**
 * What a server said, once it has the shape that this client relies on.
 *
 * Members that the schema does not know are dropped, so that a newer server can say more and nothing unchecked gets in.
 * Throws RapError ERR_RESPONSE_INVALID, with the place and not the value.
 */
export function checked<T extends TSchema>(schema: T, value: unknown, what: string): Static<T> {
  const known = Value.Clean(schema, Value.Clone(value))
  if (Value.Check(schema, known)) return known
  const place = Value.Errors(schema, known).First()?.path ?? ''
  throw new RapError('ERR_RESPONSE_INVALID', `answer is not ${what}: ${place === '' ? '/' : place.slice(0, 200)}`)
}
