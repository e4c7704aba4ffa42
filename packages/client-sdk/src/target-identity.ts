import { type Static, Type } from '@sinclair/typebox'
import type { Account } from './account.ts'
import { buildPath } from './http.ts'
import { nullable } from './model.ts'
import { checked } from './shape.ts'

const Hex = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Time = Type.String({ maxLength: 64 })
const Text = Type.String({ maxLength: 2048 })
const Code = Type.String({ maxLength: 128 })
const Count = Type.Integer({ minimum: 0 })
const Kind = Type.Union([Type.Literal('certificate'), Type.Literal('public_key')])
/** What is pinned: a certificate by the SHA-256 of its DER, or a key by that of its SubjectPublicKeyInfo. */
export type TargetPinKind = Static<typeof Kind>

export const TargetPin = Type.Object({
  kind: Kind,
  sha256: Hex,
  /** `metadata` for `certificate_pins` of the resource. */
  source: Type.Union([Type.Literal('decision'), Type.Literal('metadata')]),
  /** A staged pin leaves the approved ones in force when it shows up. */
  keep_others: Type.Boolean(),
  decided_at: nullable(Time),
  /** Null where a staged pin showed up, or it stands in the metadata. */
  decided_by: nullable(Type.String({ maxLength: 64 })),
})
export type TargetPin = Static<typeof TargetPin>

const STATES = ['seen', 'approved', 'staged', 'rejected', 'retired'] as const

/** A certificate that the target showed; everything in it is the target's own word. */
export const TargetCertificate = Type.Object({
  fingerprint_sha256: Hex,
  spki_sha256: Hex,
  state: Type.Union(STATES.map(state => Type.Literal(state))),
  subject: Text,
  issuer: Text,
  self_signed: Type.Boolean(),
  names: Type.Array(Type.String({ maxLength: 512 }), { maxItems: 64 }),
  not_before: Time,
  not_after: Time,
  first_seen_at: Time,
  last_seen_at: Time,
  times_seen: Count,
  worker_id: Type.String({ maxLength: 64 }),
  worker_name: Type.String({ maxLength: 256 }),
  /** When it was last accepted; null where it never was. */
  accepted_at: nullable(Time),
  /** Why it was refused the last time; null where it was accepted. */
  refused_code: nullable(Code),
})
export type TargetCertificate = Static<typeof TargetCertificate>

const Pins = Type.Array(TargetPin, { maxItems: 256 })

/** What the target showed, what is approved of it, and its alarm. */
export const TargetIdentity = Type.Object({
  resource_id: Type.String({ maxLength: 64 }),
  /** `strict`, `platform_ca`, `pinned` or `insecure`. */
  mode: Type.String({ maxLength: 32 }),
  /** While there is one, no session starts. */
  alarm: nullable(Type.Object({ fingerprint_sha256: Hex, code: Code, since: Time })),
  approved: Pins,
  staged: Pins,
  rejected: Pins,
  retired: Pins,
  seen: Type.Array(TargetCertificate, { maxItems: 256 }),
  /** Certificates that were seen and are no longer kept. */
  forgotten_count: Count,
  /** The authority that alone counts in mode `strict`; null where it is the system's. */
  ca: nullable(
    Type.Object({
      certificates: Type.Array(
        Type.Object({ subject: Text, fingerprint_sha256: Hex, not_before: Time, not_after: Time }),
        { maxItems: 8 },
      ),
      certificates_pem: Type.String({ maxLength: 32_768 }),
      enrolled_at: Time,
      enrolled_by: nullable(Type.String({ maxLength: 64 })),
    }),
  ),
})
export type TargetIdentity = Static<typeof TargetIdentity>

/** One certificate of a chain that a target showed. */
export const TargetChainLink = Type.Object({
  subject: Text,
  fingerprint_sha256: Hex,
  pem: Type.String({ maxLength: 65_536 }),
})
export type TargetChainLink = Static<typeof TargetChainLink>
const TargetChain = Type.Object({ chain: Type.Array(TargetChainLink, { maxItems: 16 }) })

export interface ApproveOptions {
  /** Default: `certificate`. */
  readonly kind?: TargetPinKind
  /** Several hosts stand behind the address: what is approved already stays so. Default: it is retired. */
  readonly keepOthers?: boolean
}

export interface StageOptions extends ApproveOptions {
  /** SHA-256 of the certificate or of its public key; colons and capitals are taken. */
  readonly sha256: string
}

/** `/v1/resources/:id/target-identity`: who a desktop is, and who says so. Every call answers with the whole of it. */
export class TargetIdentities {
  readonly #account: Account

  constructor(account: Account) {
    this.#account = account
  }

  async get(resourceId: string): Promise<TargetIdentity> {
    const { body } = await this.#account.call({ method: 'GET', path: pathOf(resourceId) })
    return checked(TargetIdentity, body, 'the identity of a target')
  }

  /** The chain of a certificate that was seen, the leaf first. Nothing in it is verified. */
  async chain(resourceId: string, fingerprint: string): Promise<TargetChainLink[]> {
    const path = buildPath('/v1/resources', [resourceId, 'target-identity', 'certificates', fingerprint])
    const { body } = await this.#account.call({ method: 'GET', path })
    return checked(TargetChain, body, 'a chain of certificates').chain
  }

  /**
   * Approves a certificate that was seen, after its fingerprint was compared with that of the machine itself. The mode is `pinned` from then on.
   * ERR_TARGET_CERTIFICATE_NOT_SEEN for one that was not: stage it.
   */
  async approve(resourceId: string, fingerprint: string, options: ApproveOptions = {}): Promise<TargetIdentity> {
    const { kind = 'certificate', keepOthers = false } = options
    return await this.#decide(resourceId, {
      action: 'approve',
      fingerprint_sha256: fingerprint,
      kind,
      keep_others: keepOthers,
    })
  }

  /** Refuses a certificate that was seen, in every mode; an alarm that it raised stays. */
  async reject(resourceId: string, fingerprint: string): Promise<TargetIdentity> {
    return await this.#decide(resourceId, { action: 'reject', fingerprint_sha256: fingerprint })
  }

  /** Pins the next certificate or key before a renewal; it becomes the approved one when it shows up. */
  async stage(resourceId: string, options: StageOptions): Promise<TargetIdentity> {
    const { sha256, kind = 'certificate', keepOthers = false } = options
    return await this.#decide(resourceId, { action: 'stage', kind, sha256, keep_others: keepOthers })
  }

  /** Takes an approved, staged or rejected pin back. */
  async withdraw(resourceId: string, pin: { kind: TargetPinKind; sha256: string }): Promise<TargetIdentity> {
    return await this.#decide(resourceId, { action: 'withdraw', kind: pin.kind, sha256: pin.sha256 })
  }

  /** Enrols an authority of the resource's own, up to three certificates: in mode `strict` it alone counts. */
  async enrolCa(resourceId: string, certificatesPem: string): Promise<TargetIdentity> {
    return await this.#decide(resourceId, { action: 'enrol_ca', certificates_pem: certificatesPem })
  }

  /** The authorities of the system count again. */
  async removeCa(resourceId: string): Promise<TargetIdentity> {
    return await this.#decide(resourceId, { action: 'remove_ca' })
  }

  /** Ends the alarm over this certificate, which stays unapproved. ERR_TARGET_ALARM_OTHER where it is about another one by now. */
  async dismissAlarm(resourceId: string, fingerprint: string): Promise<TargetIdentity> {
    return await this.#decide(resourceId, { action: 'dismiss_alarm', fingerprint_sha256: fingerprint })
  }

  async #decide(resourceId: string, decision: Readonly<Record<string, unknown>>): Promise<TargetIdentity> {
    const { body } = await this.#account.call({ method: 'POST', path: pathOf(resourceId), body: decision })
    return checked(TargetIdentity, body, 'the identity of a target')
  }
}

const pathOf = (resourceId: string): string => buildPath('/v1/resources', [resourceId, 'target-identity'])
