import { DerReader, derElement, derEnumerated, derExplicit, derOctetString, derOid, derSequence } from '../der.ts'
import { CredSspError } from './errors.ts'
import type { MechanismContext, SecurityContext } from './security-context.ts'

/** Object identifiers of the mechanisms that Windows negotiates: [MS-SPNG] §3.1.1, RFC 4178 §4. */
export const MECHANISM = {
  SPNEGO: '1.3.6.1.5.5.2',
  NTLMSSP: '1.3.6.1.4.1.311.2.2.10',
  KERBEROS: '1.2.840.113554.1.2.2',
} as const

/** negState of RFC 4178 §4.2.2. */
export const NEG_STATE = { ACCEPT_COMPLETED: 0, ACCEPT_INCOMPLETE: 1, REJECT: 2, REQUEST_MIC: 3 } as const

/** 48 KiB: larger tokens do not fit a TSRequest. */
const MAX_TOKEN_BYTES = 49_152
const INITIAL_CONTEXT_TOKEN = 0x60

export interface NegTokenResp {
  readonly negState?: number
  readonly supportedMech?: string
  readonly responseToken?: Uint8Array
  readonly mechListMic?: Uint8Array
}

/** MechTypeList, the bytes that mechListMIC signs: RFC 4178 §4.1. */
export function encodeMechTypeList(mechanisms: readonly string[]): Uint8Array {
  return derSequence(...mechanisms.map(derOid))
}

/** InitialContextToken with a negTokenInit: RFC 4178 §4.2.1, RFC 2743 §3.1. */
export function encodeNegTokenInit(mechTypeList: Uint8Array, mechToken: Uint8Array): Uint8Array {
  const negTokenInit = derSequence(derExplicit(0, mechTypeList), derExplicit(2, derOctetString(mechToken)))
  return derElement(INITIAL_CONTEXT_TOKEN, derOid(MECHANISM.SPNEGO), derExplicit(0, negTokenInit))
}

/** negTokenResp: RFC 4178 §4.2.2. */
export function encodeNegTokenResp(token: NegTokenResp): Uint8Array {
  const fields: Uint8Array[] = []
  if (token.negState !== undefined) fields.push(derExplicit(0, derEnumerated(token.negState)))
  if (token.supportedMech !== undefined) fields.push(derExplicit(1, derOid(token.supportedMech)))
  if (token.responseToken !== undefined) fields.push(derExplicit(2, derOctetString(token.responseToken)))
  if (token.mechListMic !== undefined) fields.push(derExplicit(3, derOctetString(token.mechListMic)))
  return derExplicit(1, derSequence(...fields))
}

/**
 * negTokenResp of the server.
 *
 * Spec: RFC 4178 §4.2.2. Throws WireError like {@link DerReader}.
 */
export function decodeNegTokenResp(bytes: Uint8Array): NegTokenResp {
  const reader = new DerReader(bytes, 'NegTokenResp', { maxBytes: MAX_TOKEN_BYTES })
  const choice = reader.explicit(1, 'negTokenResp')
  reader.end()
  const fields = choice.sequence('NegTokenResp')
  choice.end()
  const negState = fields.optionalExplicit(0, 'negState')
  const supportedMech = fields.optionalExplicit(1, 'supportedMech')
  const responseToken = fields.optionalExplicit(2, 'responseToken')
  const mechListMic = fields.optionalExplicit(3, 'mechListMIC')
  fields.end()
  const token = {
    ...(negState && { negState: negState.enumerated('negState', 0, 3) }),
    ...(supportedMech && { supportedMech: supportedMech.oid('supportedMech') }),
    ...(responseToken && { responseToken: responseToken.octetString('responseToken') }),
    ...(mechListMic && { mechListMic: mechListMic.octetString('mechListMIC') }),
  }
  for (const field of [negState, supportedMech, responseToken, mechListMic]) field?.end()
  return token
}

/**
 * SPNEGO around one mechanism, which is the only one offered.
 *
 * Spec: RFC 4178 §3.2, §5; [MS-SPNG] §3.1.5. The mechanism's own MIC makes mechListMIC required in both directions.
 * INVARIANT: `finish` succeeds only with accept-completed and a mechListMIC that verifies.
 * Throws CredSspError ERR_CREDSSP_MECHANISM_REFUSED, ERR_CREDSSP_MESSAGE_ALTERED; WireError on malformed tokens.
 */
export class SpnegoClient implements SecurityContext {
  readonly #mechanism: string
  readonly #context: MechanismContext
  readonly #mechTypeList: Uint8Array

  constructor(mechanism: string, context: MechanismContext) {
    this.#mechanism = mechanism
    this.#context = context
    this.#mechTypeList = encodeMechTypeList([mechanism])
  }

  get established(): boolean {
    return this.#context.established
  }

  initiate(): Uint8Array {
    return encodeNegTokenInit(this.#mechTypeList, this.#context.initiate())
  }

  respond(bytes: Uint8Array): Uint8Array {
    const token = decodeNegTokenResp(bytes)
    const refused =
      (token.negState !== undefined &&
        token.negState !== NEG_STATE.ACCEPT_INCOMPLETE &&
        token.negState !== NEG_STATE.REQUEST_MIC) ||
      (token.supportedMech !== undefined && token.supportedMech !== this.#mechanism)
    if (refused || token.responseToken === undefined) throw mechanismRefused()
    const responseToken = this.#context.respond(token.responseToken)
    return encodeNegTokenResp({
      negState: NEG_STATE.ACCEPT_INCOMPLETE,
      ...(responseToken && { responseToken }),
      ...(this.established && { mechListMic: this.#context.getMechListMic(this.#mechTypeList) }),
    })
  }

  seal(plaintext: Uint8Array): Uint8Array {
    return this.#context.seal(plaintext)
  }

  unseal(sealed: Uint8Array): Uint8Array {
    return this.#context.unseal(sealed)
  }

  finish(bytes: Uint8Array | undefined): void {
    if (bytes === undefined) throw mechanismRefused()
    const token = decodeNegTokenResp(bytes)
    if (token.negState !== NEG_STATE.ACCEPT_COMPLETED || token.mechListMic === undefined) throw mechanismRefused()
    this.#context.verifyMechListMic(this.#mechTypeList, token.mechListMic)
    this.#context.finish(token.responseToken)
  }

  destroy(): void {
    this.#context.destroy()
  }
}

function mechanismRefused(): CredSspError {
  return new CredSspError('ERR_CREDSSP_MECHANISM_REFUSED', 'server does not complete the offered mechanism')
}
