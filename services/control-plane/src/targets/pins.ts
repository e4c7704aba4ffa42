/** What is pinned: a certificate by its DER, or a public key by its SubjectPublicKeyInfo, which a renewal may keep. */
export const PIN_KINDS = ['certificate', 'public_key'] as const
export type PinKind = (typeof PIN_KINDS)[number]

/** `retired` was approved once. */
export const PIN_STATES = ['approved', 'staged', 'rejected', 'retired'] as const
export type PinState = (typeof PIN_STATES)[number]

export interface Pin {
  readonly kind: PinKind
  /** Lower-case hexadecimal. */
  readonly sha256: string
  readonly state: PinState
  readonly keeps_others: boolean
  readonly created_at: Date
  readonly decided_at: Date
  readonly decided_by: string | null
}

/** The two fingerprints of a certificate. */
export interface Fingerprints {
  readonly fingerprintSha256: string
  readonly spkiSha256: string
}

/** True where the pin is about this certificate. */
export function matches({ kind, sha256 }: Pick<Pin, 'kind' | 'sha256'>, shown: Fingerprints): boolean {
  return sha256 === (kind === 'certificate' ? shown.fingerprintSha256 : shown.spkiSha256)
}

/** Where several pins are about one certificate, the first of these counts. */
const WEIGHT = ['rejected', 'approved', 'staged', 'retired'] as const satisfies readonly PinState[]

/** What was decided about a certificate; `seen` where nothing was. */
export function stateOf(pins: readonly Pin[], metadataPins: readonly string[], shown: Fingerprints): PinState | 'seen' {
  const states = new Set(pins.filter(pin => matches(pin, shown)).map(({ state }) => state))
  if (metadataPins.includes(shown.fingerprintSha256)) states.add('approved')
  return WEIGHT.find(state => states.has(state)) ?? 'seen'
}
