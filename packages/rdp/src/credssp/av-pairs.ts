import { Reader } from '../cursor.ts'
import { WireError } from '../errors.ts'
import { channelBindingsHash, utf16le } from './ntlm-crypto.ts'

/** AvId of [MS-NLMP] §2.2.2.1 AV_PAIR. */
export const AV_ID = {
  MsvAvEOL: 0,
  MsvAvNbComputerName: 1,
  MsvAvNbDomainName: 2,
  MsvAvDnsComputerName: 3,
  MsvAvDnsDomainName: 4,
  MsvAvDnsTreeName: 5,
  MsvAvFlags: 6,
  MsvAvTimestamp: 7,
  MsvAvSingleHost: 8,
  MsvAvTargetName: 9,
  MsvAvChannelBindings: 10,
} as const

/** MsvAvFlags bit: the AUTHENTICATE_MESSAGE carries a MIC. */
export const AV_FLAG_MIC = 0x2

export interface AvPair {
  readonly id: number
  readonly value: Uint8Array
}

const STRUCTURE = 'AV_PAIR'

/**
 * The AV_PAIRs of a TargetInfo field, without MsvAvEOL.
 *
 * Spec: [MS-NLMP] §2.2.2.1. INVARIANT: no id occurs twice, MsvAvTimestamp has 8 bytes, MsvAvFlags 4.
 * Throws WireError: TRUNCATED (also when MsvAvEOL is missing), INVALID_FIELD, TRAILING_BYTES.
 */
export function decodeAvPairs(bytes: Uint8Array): readonly AvPair[] {
  const reader = new Reader(bytes, STRUCTURE)
  const pairs: AvPair[] = []
  const seen = new Set<number>()
  for (;;) {
    const id = reader.u16le('AvId')
    const size = reader.u16le('AvLen')
    const value = reader.take(size, 'Value')
    const expected = fixedSize(id)
    if (seen.has(id) || (expected !== undefined && size !== expected)) {
      throw new WireError('ERR_WIRE_INVALID_FIELD', 'pair is repeated or has another size than its kind', {
        structure: STRUCTURE,
        field: 'AvId',
        received: id,
      })
    }
    if (id === AV_ID.MsvAvEOL) break
    seen.add(id)
    pairs.push({ id, value })
  }
  reader.end()
  return pairs
}

function fixedSize(id: number): number | undefined {
  if (id === AV_ID.MsvAvEOL) return 0
  if (id === AV_ID.MsvAvTimestamp) return 8
  if (id === AV_ID.MsvAvFlags) return 4
  return undefined
}

export function encodeAvPairs(pairs: readonly AvPair[]): Uint8Array {
  const parts = [...pairs, { id: AV_ID.MsvAvEOL, value: new Uint8Array(0) }].flatMap(({ id, value }) => {
    const header = new Uint8Array(4)
    const view = new DataView(header.buffer)
    view.setUint16(0, id, true)
    view.setUint16(2, value.length, true)
    return [header, value]
  })
  return Buffer.concat(parts)
}

/** MsvAvTimestamp as a FILETIME, or undefined when the server sent none. */
export function timestampOf(pairs: readonly AvPair[]): bigint | undefined {
  const value = pairs.find(pair => pair.id === AV_ID.MsvAvTimestamp)?.value
  return value === undefined ? undefined : new Reader(value, STRUCTURE).u64le('MsvAvTimestamp')
}

export interface ClientAvPairs {
  readonly mic: boolean
  readonly targetName: string
  /** tls-server-end-point hash; without it the pair says "no bindings", sixteen zeros. */
  readonly channelBindings: Uint8Array | undefined
}

/**
 * The server's pairs with what the client adds, as the NTLMv2 response carries them.
 *
 * Spec: [MS-NLMP] §3.1.5.1.2. A server has no business in the pairs of the client, so those are replaced.
 */
export function addClientAvPairs(serverPairs: readonly AvPair[], client: ClientAvPairs): readonly AvPair[] {
  const ofClient: readonly number[] = [AV_ID.MsvAvFlags, AV_ID.MsvAvTargetName, AV_ID.MsvAvChannelBindings]
  const pairs = serverPairs.filter(pair => !ofClient.includes(pair.id))
  const serverFlags = serverPairs.find(pair => pair.id === AV_ID.MsvAvFlags)?.value
  const flags = Uint8Array.from(serverFlags ?? [0, 0, 0, 0])
  if (client.mic) flags[0] = (flags[0] ?? 0) | AV_FLAG_MIC
  if (client.mic || serverFlags !== undefined) pairs.push({ id: AV_ID.MsvAvFlags, value: flags })
  const bindings =
    client.channelBindings === undefined ? new Uint8Array(16) : channelBindingsHash(client.channelBindings)
  pairs.push({ id: AV_ID.MsvAvChannelBindings, value: bindings })
  pairs.push({ id: AV_ID.MsvAvTargetName, value: utf16le(client.targetName) })
  return pairs
}
