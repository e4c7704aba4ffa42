import type { InternalClient } from '@rap/service-kit'
import { type AssignmentClaims, decodeJti } from '@rap/token-claims'
import type { ControlPlane } from '../control-plane/client.ts'
import { type ResolvedCredentials, resolveCredentials } from '../credentials/resolve.ts'
import type { TargetPolicy } from '../target/address.ts'
import { TargetFailure } from '../target/failure.ts'
import { OPEN_TIMEOUT_MS, openTarget, type WarmTarget } from '../target/open.ts'

/** Longest time for the credential, in milliseconds; what it takes is taken from the time for the target. */
const RESOLVE_TIMEOUT_MS = 5000

/** What it takes to log on to the target of an assignment. */
export interface TargetParts {
  readonly controlPlane: Pick<ControlPlane, 'reportCertificate'>
  /** The client of the secret-resolver for a lease token. */
  readonly resolverFor: (leaseToken: string) => InternalClient
  readonly targetPolicy: TargetPolicy
  readonly platformCa: () => string | Buffer
  readonly production: boolean
  readonly credSspMinimumVersion: number
}

/** The target of one attachment with the credential that it was logged on with. INVARIANT: after `destroy` neither is left, also where it came later. */
export class OpenedTarget {
  readonly #parts: TargetParts
  readonly #ended = new AbortController()
  #credentials: ResolvedCredentials | undefined
  #target: WarmTarget | undefined
  #unwatch: () => void = () => undefined

  constructor(parts: TargetParts) {
    this.#parts = parts
  }

  /** Resolves the credential, dials and logs on. Throws TargetFailure, and whatever `destroy` makes of it meanwhile. */
  async open(assignment: AssignmentClaims): Promise<void> {
    try {
      await this.#open(assignment)
    } catch (error) {
      if (this.#ended.signal.aborted) this.destroy()
      throw error
    }
  }

  /** A target that goes away or speaks while it waits is no desktop any more. */
  watch(on: { readonly spoke: (failure: TargetFailure) => void; readonly closed: () => void }): void {
    const target = this.#target
    if (target === undefined) return
    const { socket, refusalOf } = target
    const onReadable = (): void => {
      const bytes: Buffer | null = socket.read()
      if (bytes !== null) on.spoke(refusalOf(bytes))
    }
    socket.on('readable', onReadable).once('close', on.closed)
    this.#unwatch = () => void socket.off('readable', onReadable).off('close', on.closed)
    // Gone between the logon and here.
    if (socket.destroyed) on.spoke(new TargetFailure('ERR_TARGET_CLOSED'))
  }

  /** Gives both to whoever relays from now on; undefined where there is no target. */
  take(): { readonly target: WarmTarget; readonly credentials: ResolvedCredentials | undefined } | undefined {
    if (this.#target === undefined) return undefined
    this.#unwatch()
    return { target: this.#target, credentials: this.#credentials }
  }

  /** Closes the target and zeroes the credential, whatever is under way; safe to call twice. */
  destroy(): void {
    this.#ended.abort()
    this.#unwatch()
    this.#credentials?.destroy()
    this.#target?.socket.destroy()
  }

  async #open(assignment: AssignmentClaims): Promise<void> {
    const { controlPlane, resolverFor, targetPolicy, platformCa, production, credSspMinimumVersion } = this.#parts
    const { signal } = this.#ended
    const startedAt = performance.now()
    const lease = { token: assignment.lease_token, jti: decodeJti(assignment.lease_token) }
    this.#credentials = await resolveCredentials(resolverFor(lease.token), lease, {
      signal,
      timeoutMs: RESOLVE_TIMEOUT_MS,
    })
    signal.throwIfAborted()
    this.#target = await openTarget({
      target: assignment.target,
      credentials: this.#credentials,
      policy: targetPolicy,
      platformCa: platformCa(),
      production,
      credSspMinimumVersion,
      report: (report, limit) => controlPlane.reportCertificate(assignment.attachment_id, report, limit),
      signal,
      timeoutMs: OPEN_TIMEOUT_MS - Math.round(performance.now() - startedAt),
    })
    signal.throwIfAborted()
  }
}
