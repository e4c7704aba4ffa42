import type { Identity, RapClient, Worker } from '@rap/client-sdk'
import { allOf } from '../shell/all-of.ts'

/** A worker or a service, as the register and its own announcement tell of it. */
export interface Machine {
  readonly key: string
  readonly kind: 'worker' | 'service'
  readonly id: string
  readonly name: string
  readonly revokedAt: string | null
  /** Undefined where its certificates come from elsewhere. */
  readonly identity: Identity | undefined
  /** Undefined where it has not announced itself, and for services. */
  readonly worker: Worker | undefined
}

export interface MachineState {
  readonly label: string
  readonly color: string
  /** What to do about it, if anything. */
  readonly hint?: string
}

/** The machines of the platform: those in force first, workers before services, by name. */
export async function loadMachines(rap: RapClient): Promise<{ machines: Machine[]; isCut: boolean }> {
  const [identities, workers] = await Promise.all([
    allOf(options => rap.identities.list(options)),
    allOf(options => rap.workers.list(options)),
  ])
  return { machines: joined(identities.items, workers.items), isCut: identities.isCut || workers.isCut }
}

/** One machine for each identity, and for each worker that is in no register. */
export function joined(identities: readonly Identity[], workers: readonly Worker[]): Machine[] {
  const announced = new Map(workers.map(worker => [worker.id, worker]))
  const registered = new Set(identities.flatMap(({ kind, id }) => (kind === 'worker' ? [id] : [])))
  const machines: Machine[] = [
    ...identities.map(identity => {
      const { kind, id, name, revoked_at: revokedAt } = identity
      const worker = kind === 'worker' ? announced.get(id) : undefined
      return { key: `${kind}/${id}`, kind, id, name, revokedAt, identity, worker }
    }),
    ...workers
      .filter(({ id }) => !registered.has(id))
      .map(worker => {
        const { id, name, revoked_at: revokedAt } = worker
        return { key: `worker/${id}`, kind: 'worker' as const, id, name, revokedAt, identity: undefined, worker }
      }),
  ]
  const rank = ({ kind, revokedAt }: Machine) => (revokedAt === null ? 0 : 2) + (kind === 'worker' ? 0 : 1)
  return machines.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name))
}

/** What a machine is at a moment, in a word, and what to do about it. */
export function stateOf({ kind, identity, worker, revokedAt }: Machine, now: number): MachineState {
  if (revokedAt !== null) return { label: 'Revoked', color: 'gray' }
  if (identity !== undefined && identity.certificate === null) {
    return { label: 'Not enrolled yet', color: 'yellow', hint: 'It waits for its join token to be used.' }
  }
  if (identity?.certificate != null && Date.parse(identity.certificate.not_after) <= now) {
    return {
      label: 'Certificate has ended',
      color: 'red',
      hint: 'It is shut out. If it is to come back, enrol it again with a new join token.',
    }
  }
  if (kind === 'service') return { label: 'Enrolled', color: 'green' }
  if (worker === undefined) return { label: 'Enrolled', color: 'blue', hint: 'It has not announced itself yet.' }
  return worker.alive
    ? { label: 'Running', color: 'green' }
    : { label: 'Takes no sessions', color: 'orange', hint: 'It does not answer, or is not ready: see its /readyz.' }
}
