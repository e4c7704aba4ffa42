import { certificateThumbprint } from '@rap/pki'
import type { IdentityMaterial, InternalAgent, InternalClient } from '@rap/service-kit'
import { decodeThumbprint } from '@rap/token-claims'

/** Longer than a lease token lives (120 seconds), in milliseconds. */
const KEEP_MS = 150_000

/** A client of the secret-resolver, and the agent under it. */
export interface LeaseClient {
  readonly agent: InternalAgent
  readonly client: InternalClient
}

interface Held extends LeaseClient {
  /** `x5t#S256` of the one certificate that it ever shows. */
  readonly thumbprint: string
}

/**
 * Finds the client for a lease token: the token is bound to the certificate that this worker had announced when it was
 * issued (RFC 8705 §3), so after a renewal the one before is kept until its last lease token has ended.
 */
export class LeaseAgents {
  readonly #make: (material: IdentityMaterial) => LeaseClient
  /** The newest last. */
  #held: Held[] = []

  constructor(material: IdentityMaterial, make: (material: IdentityMaterial) => LeaseClient) {
    this.#make = make
    this.#add(material)
  }

  /** The client with the certificate that the token names; the newest one where there is none, and the resolver refuses it. */
  for(leaseToken: string): InternalClient {
    const thumbprint = decodeThumbprint(leaseToken)
    return (this.#held.find(held => held.thumbprint === thumbprint) ?? this.#newest).client
  }

  /** Lease tokens of announcements from now on are bound to this certificate. */
  setTls(material: IdentityMaterial): void {
    const before = this.#newest
    this.#add(material)
    setTimeout(() => this.#drop(before), KEEP_MS).unref()
  }

  async destroy(): Promise<void> {
    await Promise.all(this.#held.splice(0).map(({ agent }) => agent.destroy()))
  }

  get #newest(): Held {
    return this.#held.at(-1) as Held
  }

  #add(material: IdentityMaterial): void {
    this.#held.push({ ...this.#make(material), thumbprint: certificateThumbprint(material.cert) })
  }

  #drop(old: Held): void {
    this.#held = this.#held.filter(held => held !== old)
    void old.agent.close().catch(() => undefined)
  }
}
