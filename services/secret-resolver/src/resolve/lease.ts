import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

/** Longest lease entry that is read and parsed, in bytes. */
export const MAX_LEASE_BYTES = 2048

const Id = Type.String({ minLength: 1, maxLength: 64 })
const Lease = Type.Object({ lease_id: Id, worker_id: Id, session_id: Id, attachment_id: Id })

/** A live lease as the control plane wrote it; it lives for 30 seconds unless it is renewed. */
export type Lease = Static<typeof Lease>

/** Where the control plane keeps a lease. */
export function leaseKey(leaseId: string): string {
  return `rap:lease:${leaseId}`
}

/** The lease of an entry's first `MAX_LEASE_BYTES`, or undefined where it has ended or is not in form. */
export function parseLease(text: string): Lease | undefined {
  try {
    // A longer entry comes cut off and is then no JSON; a missing one comes empty.
    const lease: unknown = JSON.parse(text)
    return Value.Check(Lease, lease) ? lease : undefined
  } catch {
    return undefined
  }
}
