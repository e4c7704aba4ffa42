import {
  BER_TAG,
  readBerElement,
  readBerLength,
  readBerUnsigned,
  writeBerElement,
  writeBerLength,
  writeBerUnsigned,
} from '../ber.ts'
import { Reader, Writer } from '../cursor.ts'
import { WireError } from '../errors.ts'

const CONNECT_INITIAL_TAG = 0x7f65
const CONNECT_RESPONSE_TAG = 0x7f66

/** Spec: [T.125] §7 part 1; MCS domain parameters, all counts and sizes in their own units. */
export interface DomainParameters {
  readonly maxChannelIds: number
  readonly maxUserIds: number
  readonly maxTokenIds: number
  readonly numPriorities: number
  readonly minThroughput: number
  readonly maxHeight: number
  /** Bytes. */
  readonly maxMcsPduSize: number
  readonly protocolVersion: number
}

/** Spec: [T.125] §11.1; [MS-RDPBCGR] §2.2.1.3 mcsCi. `userData` is the GCC Conference Create Request. */
export interface McsConnectInitial {
  readonly callingDomainSelector: Uint8Array
  readonly calledDomainSelector: Uint8Array
  readonly upwardFlag: boolean
  readonly targetParameters: DomainParameters
  readonly minimumParameters: DomainParameters
  readonly maximumParameters: DomainParameters
  readonly userData: Uint8Array
}

/** Spec: [T.125] §11.2; [MS-RDPBCGR] §2.2.1.4 mcsCrsp. `userData` is the GCC Conference Create Response. */
export interface McsConnectResponse {
  /** 0 is rt-successful. */
  readonly result: number
  readonly calledConnectId: number
  readonly domainParameters: DomainParameters
  readonly userData: Uint8Array
}

/** Takes the X.224 user data. Throws WireError: TRUNCATED, INVALID_FIELD, UNEXPECTED_MESSAGE, TRAILING_BYTES. */
export function decodeMcsConnectInitial(bytes: Uint8Array): McsConnectInitial {
  const reader = openConnect(bytes, CONNECT_INITIAL_TAG, 'mcsCi')
  const callingDomainSelector = readBerElement(reader, BER_TAG.OCTET_STRING, 'callingDomainSelector')
  const calledDomainSelector = readBerElement(reader, BER_TAG.OCTET_STRING, 'calledDomainSelector')
  const upward = readBerElement(reader, BER_TAG.BOOLEAN, 'upwardFlag')
  if (upward.length !== 1) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'boolean is not one byte', {
      structure: 'mcsCi',
      field: 'upwardFlag',
      received: upward.length,
      expected: 1,
    })
  }
  const initial: McsConnectInitial = {
    callingDomainSelector,
    calledDomainSelector,
    upwardFlag: upward[0] !== 0,
    targetParameters: readDomainParameters(reader, 'targetParameters'),
    minimumParameters: readDomainParameters(reader, 'minimumParameters'),
    maximumParameters: readDomainParameters(reader, 'maximumParameters'),
    userData: readBerElement(reader, BER_TAG.OCTET_STRING, 'userData'),
  }
  reader.end()
  return initial
}

export function encodeMcsConnectInitial(initial: McsConnectInitial): Uint8Array {
  const content = new Writer(128 + initial.userData.length)
  writeBerElement(content, BER_TAG.OCTET_STRING, initial.callingDomainSelector)
  writeBerElement(content, BER_TAG.OCTET_STRING, initial.calledDomainSelector)
  writeBerElement(content, BER_TAG.BOOLEAN, Uint8Array.of(initial.upwardFlag ? 0xff : 0))
  writeDomainParameters(content, initial.targetParameters)
  writeDomainParameters(content, initial.minimumParameters)
  writeDomainParameters(content, initial.maximumParameters)
  writeBerElement(content, BER_TAG.OCTET_STRING, initial.userData)
  return closeConnect(CONNECT_INITIAL_TAG, content)
}

/** Takes the X.224 user data. Throws WireError: TRUNCATED, INVALID_FIELD, UNEXPECTED_MESSAGE, TRAILING_BYTES. */
export function decodeMcsConnectResponse(bytes: Uint8Array): McsConnectResponse {
  const reader = openConnect(bytes, CONNECT_RESPONSE_TAG, 'mcsCrsp')
  const response: McsConnectResponse = {
    result: readBerUnsigned(reader, 'result', BER_TAG.ENUMERATED),
    calledConnectId: readBerUnsigned(reader, 'calledConnectId'),
    domainParameters: readDomainParameters(reader, 'domainParameters'),
    userData: readBerElement(reader, BER_TAG.OCTET_STRING, 'userData'),
  }
  reader.end()
  return response
}

export function encodeMcsConnectResponse(response: McsConnectResponse): Uint8Array {
  const content = new Writer(64 + response.userData.length)
  writeBerUnsigned(content, response.result, BER_TAG.ENUMERATED)
  writeBerUnsigned(content, response.calledConnectId)
  writeDomainParameters(content, response.domainParameters)
  writeBerElement(content, BER_TAG.OCTET_STRING, response.userData)
  return closeConnect(CONNECT_RESPONSE_TAG, content)
}

function openConnect(bytes: Uint8Array, tag: number, structure: string): Reader {
  const outer = new Reader(bytes, structure)
  const received = outer.u16be('tag')
  if (received !== tag) {
    throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'MCS connect PDU is of another kind', {
      structure,
      field: 'tag',
      received,
      expected: tag,
    })
  }
  const content = outer.take(readBerLength(outer, 'length'), 'content')
  outer.end()
  return new Reader(content, structure)
}

function closeConnect(tag: number, content: Writer): Uint8Array {
  const writer = new Writer(8 + content.length).u16be(tag)
  return writeBerLength(writer, content.length).bytes(content.finish()).finish()
}

function readDomainParameters(reader: Reader, field: string): DomainParameters {
  const content = new Reader(readBerElement(reader, BER_TAG.SEQUENCE, field), reader.structure)
  const parameters: DomainParameters = {
    maxChannelIds: readBerUnsigned(content, 'maxChannelIds'),
    maxUserIds: readBerUnsigned(content, 'maxUserIds'),
    maxTokenIds: readBerUnsigned(content, 'maxTokenIds'),
    numPriorities: readBerUnsigned(content, 'numPriorities'),
    minThroughput: readBerUnsigned(content, 'minThroughput'),
    maxHeight: readBerUnsigned(content, 'maxHeight'),
    maxMcsPduSize: readBerUnsigned(content, 'maxMcsPduSize'),
    protocolVersion: readBerUnsigned(content, 'protocolVersion'),
  }
  content.end()
  return parameters
}

function writeDomainParameters(writer: Writer, parameters: DomainParameters): void {
  const content = new Writer(48)
  writeBerUnsigned(content, parameters.maxChannelIds)
  writeBerUnsigned(content, parameters.maxUserIds)
  writeBerUnsigned(content, parameters.maxTokenIds)
  writeBerUnsigned(content, parameters.numPriorities)
  writeBerUnsigned(content, parameters.minThroughput)
  writeBerUnsigned(content, parameters.maxHeight)
  writeBerUnsigned(content, parameters.maxMcsPduSize)
  writeBerUnsigned(content, parameters.protocolVersion)
  writeBerElement(writer, BER_TAG.SEQUENCE, content.finish())
}
