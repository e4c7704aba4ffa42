import { commonProblems, type Redis } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

/** Longest lease entry that is read and parsed, in bytes. */
const MAX_LEASE_BYTES = 2048

const Id = Type.String({ minLength: 1, maxLength: 64 })
const Lease = Type.Object({ lease_id: Id, worker_id: Id, session_id: Id, attachment_id: Id })

/** A live lease as the control plane wrote it; it lives for 30 seconds unless it is renewed. */
export type Lease = Static<typeof Lease>

/** The lease of this id, or undefined where it has ended or is not in form. Throws what `askRedis` throws. */
export async function readLease(redis: Pick<Redis, 'getrange'>, leaseId: string): Promise<Lease | undefined> {
  // A longer entry comes cut off and is then no JSON; a missing one comes empty.
  const text = await askRedis(redis.getrange(`rap:lease:${leaseId}`, 0, MAX_LEASE_BYTES - 1))
  try {
    const lease: unknown = JSON.parse(text)
    return Value.Check(Lease, lease) ? lease : undefined
  } catch {
    return undefined
  }
}

/** Throws ProblemError ERR_UPSTREAM_UNAVAILABLE where Redis does not answer: without an answer there is no lease. */
export async function askRedis<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw commonProblems.ERR_UPSTREAM_UNAVAILABLE({ cause, facts: { component: 'redis' } })
  }
}
