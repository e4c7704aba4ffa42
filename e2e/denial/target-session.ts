import type { TLSSocket } from 'node:tls'
import { pduSize } from '@rap/rdp'
import {
  CHANNEL_FLAG,
  type ChannelChunk,
  ChannelReassembler,
  CS,
  decodeChannelChunk,
  decodeClientNetworkData,
  decodeConferenceCreateRequest,
  decodeFastPath,
  decodeInfoPacket,
  decodeMcsConnectInitial,
  decodeMcsPdu,
  decodeSecurityHeader,
  decodeShareData,
  decodeUserDataBlocks,
  decodeX224Message,
  encodeChannelChunk,
  encodeChannelMessage,
  encodeConferenceCreateResponse,
  encodeFastPath,
  encodeFlagsBlock,
  encodeLicenseValidClient,
  encodeMcsConnectResponse,
  encodeMcsPdu,
  encodeSecurityHeader,
  encodeSendData,
  encodeServerCoreData,
  encodeServerMessageChannelData,
  encodeServerNetworkData,
  encodeServerSecurityData,
  encodeShareData,
  encodeUserDataBlocks,
  encodeX224Data,
  type McsPdu,
  PDUTYPE,
  PDUTYPE2,
  SC,
  SEC,
  splitSharePdus,
} from '@rap/rdp/codecs'
import { waitFor } from '@rap/testkit'
import { u16, u32 } from '../rdp-capabilities.ts'

const IO = 1003
const FIRST_STATIC = 1004
const MESSAGE = 1100
const USER = 1200
const SERVER = 1002
const SHARE_ID = 0x103ea
const MAX_CHANNEL_MESSAGE_BYTES = 32 * 1024 * 1024
/** CONTROL actions. Spec: [MS-RDPBCGR] §2.2.1.15.1. */
const GRANTED = 2
const COOPERATE = 4

/** One message of a static channel. */
export interface ChannelMessage {
  readonly channel: string
  readonly message: Buffer
}

/** One connection of a worker to the recording target, from TLS on. */
export class TargetSession {
  readonly #socket: TLSSocket
  readonly #requestedProtocols: number
  readonly #reassemblers = new Map<string, ChannelReassembler>()
  readonly #listeners: ((message: ChannelMessage) => void)[] = []
  #buffered: Buffer = Buffer.alloc(0)
  #isConnected = false
  /** The account that the worker put into the Client Info PDU. */
  username = ''
  isActive = false
  isClosed = false
  /** Static channels that the target was asked for, with the ids that it gave them. */
  readonly channels = new Map<string, number>()
  /** Everything that came, by kind; bytes are copies. */
  readonly input: Buffer[] = []
  readonly shares: { readonly pduType2: number; readonly body: Buffer }[] = []
  readonly messages: ChannelMessage[] = []
  /** Flags of the security header of everything on the MCS message channel. */
  readonly messageChannel: number[] = []
  /** PDUs that this model does not read, by their first bytes. */
  readonly unread: string[] = []

  constructor(socket: TLSSocket, requestedProtocols: number) {
    this.#socket = socket
    this.#requestedProtocols = requestedProtocols
    socket.on('data', (bytes: Buffer) => this.#push(bytes))
    socket.once('close', () => {
      this.isClosed = true
    })
  }

  /** True where these bytes came in anything, also where a text of UTF-16 carried them. */
  saw(word: string): boolean {
    const parts = [
      ...this.input,
      ...this.shares.map(({ body }) => body),
      ...this.messages.map(({ message }) => message),
    ]
    return parts.some(part => carries(part, word))
  }

  /** Takes every later message of every static channel. */
  onMessage(listener: (message: ChannelMessage) => void): void {
    this.#listeners.push(listener)
  }

  /** Waits for a share data PDU with these bytes; what was sent before it has come by then, since all goes in one stream. */
  async fence(word: string): Promise<void> {
    await waitFor(() => this.shares.some(({ body }) => carries(body, word)), {
      what: `${word} at the target`,
      intervalMs: 2,
    })
  }

  /** Sends a message on a static channel that the target was asked for. */
  sendChannel(channel: string, message: Uint8Array): void {
    for (const chunk of encodeChannelMessage(message)) this.#indicate(this.#idOf(channel), chunk)
  }

  /** Sends one chunk as it is. */
  sendChunk(channel: string, chunk: ChannelChunk): void {
    this.#indicate(this.#idOf(channel), encodeChannelChunk(chunk))
  }

  /** Sends a message on an id of the target's choice, whatever the client knows of it. */
  sendOnId(channelId: number, message: Uint8Array): void {
    const flags = CHANNEL_FLAG.FIRST | CHANNEL_FLAG.LAST
    this.#indicate(channelId, encodeChannelChunk({ length: message.length, flags, data: message }))
  }

  /** Sends a picture. */
  sendDisplay(body: Uint8Array): void {
    this.#send(encodeFastPath({ numEvents: 0, flags: 0, body }))
  }

  sendShare(pduType2: number, body: Uint8Array): void {
    this.#indicate(IO, encodeShareData({ pduSource: SERVER, shareId: SHARE_ID, streamId: 1, pduType2, body }))
  }

  /** Sends on the MCS message channel, with these flags in the security header. */
  sendMessageChannel(flags: number, body: Uint8Array): void {
    this.#indicate(MESSAGE, encodeSecurityHeader(flags), body)
  }

  #idOf(channel: string): number {
    const id = this.channels.get(channel)
    if (id === undefined) throw new Error(`the target was not asked for ${channel}`)
    return id
  }

  #push(bytes: Buffer): void {
    this.#buffered = Buffer.concat([this.#buffered, bytes])
    for (;;) {
      const size = this.#buffered.length === 0 ? 0 : pduSize(this.#buffered, 0, this.#buffered.length)
      if (size === 0 || size > this.#buffered.length) return
      const pdu = Buffer.from(this.#buffered.subarray(0, size))
      this.#buffered = this.#buffered.subarray(size)
      if (pdu[0] === 3) this.#slowPath(pdu)
      else this.input.push(Buffer.from(decodeFastPath(pdu).body))
    }
  }

  #slowPath(packet: Buffer): void {
    const message = decodeX224Message(packet)
    if (message.type !== 'data') return
    if (!this.#isConnected) {
      this.#connect(message.userData)
      return
    }
    const pdu = decodeMcsPdu(message.userData)
    switch (pdu.type) {
      case 'attach_user_request':
        this.#mcs({ type: 'attach_user_confirm', result: 0, initiator: USER })
        return
      case 'channel_join_request': {
        const { channelId } = pdu
        this.#mcs({ type: 'channel_join_confirm', result: 0, initiator: USER, requested: channelId, channelId })
        return
      }
      case 'send_data_request':
        if (pdu.channelId === IO) this.#ioChannel(pdu.userData)
        else if (pdu.channelId === MESSAGE) this.messageChannel.push(decodeSecurityHeader(pdu.userData).flags)
        else this.#staticChannel(pdu.channelId, pdu.userData)
        return
      case 'erect_domain_request':
        return
      default:
        this.unread.push(pdu.type)
    }
  }

  #connect(userData: Uint8Array): void {
    this.#isConnected = true
    const { targetParameters, userData: gcc } = decodeMcsConnectInitial(userData)
    const blocks = decodeUserDataBlocks(decodeConferenceCreateRequest(gcc))
    const network = blocks.find(({ type }) => type === CS.NET)
    const names = network === undefined ? [] : decodeClientNetworkData(network.data).channels.map(({ name }) => name)
    for (const [index, name] of names.entries()) this.channels.set(name, FIRST_STATIC + index)
    const clientRequestedProtocols = this.#requestedProtocols
    const answer = encodeUserDataBlocks([
      {
        type: SC.CORE,
        data: encodeServerCoreData({ version: 0x0008000c, clientRequestedProtocols, earlyCapabilityFlags: 0 }),
      },
      {
        type: SC.NET,
        data: encodeServerNetworkData({ mcsChannelId: IO, channelIds: names.map((_, index) => FIRST_STATIC + index) }),
      },
      { type: SC.SECURITY, data: encodeServerSecurityData({ encryptionMethod: 0, encryptionLevel: 0 }) },
      { type: SC.MCS_MSGCHANNEL, data: encodeServerMessageChannelData(MESSAGE) },
      // It would rather speak UDP.
      { type: SC.MULTITRANSPORT, data: encodeFlagsBlock(0x301) },
    ])
    const response = encodeMcsConnectResponse({
      result: 0,
      calledConnectId: 0,
      domainParameters: targetParameters,
      userData: encodeConferenceCreateResponse({ nodeId: 0x79f3, tag: 1, result: 0, userData: answer }),
    })
    this.#send(encodeX224Data(response))
  }

  #ioChannel(userData: Uint8Array): void {
    if (this.username === '') {
      const { flags, body } = decodeSecurityHeader(userData)
      if ((flags & SEC.INFO_PKT) === 0) throw new Error('Client Info was expected')
      this.username = Buffer.from(decodeInfoPacket(body).userName).toString('utf16le')
      this.#indicate(IO, encodeSecurityHeader(SEC.LICENSE_PKT), encodeLicenseValidClient())
      this.#indicate(IO, demandActive())
      return
    }
    for (const { pduType, bytes } of splitSharePdus(userData)) {
      if (pduType !== PDUTYPE.DATA) continue
      const { pduType2, body } = decodeShareData(bytes)
      if (pduType2 === PDUTYPE2.INPUT) this.input.push(Buffer.from(body))
      else this.shares.push({ pduType2, body: Buffer.from(body) })
      if (pduType2 === PDUTYPE2.FONTLIST) this.#finish()
    }
  }

  /** The end of the connection sequence. Spec: [MS-RDPBCGR] §1.3.1.1, Connection Finalization. */
  #finish(): void {
    this.sendShare(PDUTYPE2.SYNCHRONIZE, u16(1, USER))
    this.sendShare(PDUTYPE2.CONTROL, Buffer.concat([u16(COOPERATE, 0), u32(0)]))
    this.sendShare(PDUTYPE2.CONTROL, Buffer.concat([u16(GRANTED, USER), u32(SERVER)]))
    this.sendShare(PDUTYPE2.FONTMAP, u16(0, 0, 3, 4))
    this.isActive = true
  }

  #staticChannel(channelId: number, userData: Uint8Array): void {
    const channel = [...this.channels].find(([, id]) => id === channelId)?.[0]
    if (channel === undefined) {
      this.unread.push(`channel ${channelId}`)
      return
    }
    const reassembler = this.#reassemblers.get(channel) ?? new ChannelReassembler(MAX_CHANNEL_MESSAGE_BYTES)
    this.#reassemblers.set(channel, reassembler)
    const whole = reassembler.push(decodeChannelChunk(userData))
    if (whole === undefined) return
    const entry = { channel, message: Buffer.from(whole) }
    this.messages.push(entry)
    for (const listener of this.#listeners) listener(entry)
  }

  #mcs(pdu: McsPdu): void {
    this.#send(encodeX224Data(encodeMcsPdu(pdu)))
  }

  #indicate(channelId: number, ...parts: readonly Uint8Array[]): void {
    this.#send(encodeSendData('send_data_indication', { initiator: SERVER, channelId }, ...parts))
  }

  #send(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }
}

/** Tells whether bytes hold a word, as ASCII or as UTF-16LE. */
export function carries(bytes: Buffer, word: string): boolean {
  return bytes.includes(word) || bytes.includes(Buffer.from(word, 'utf16le'))
}

/** Capability sets of a server that reads fast-path input and takes chunks of the usual size. */
function demandActive(): Buffer {
  const set = (type: number, data: Buffer) => Buffer.concat([u16(type, 4 + data.length), data])
  const sets = [
    set(1, u16(1, 3, 0x200, 0, 0, 0x441d, 0, 0, 0, 0)),
    set(13, Buffer.concat([u16(0x0001 | 0x0008 | 0x0020, 0), Buffer.alloc(80)])),
    set(20, u32(0, 1600)),
  ]
  const combined = Buffer.concat([u16(sets.length, 0), ...sets])
  const source = Buffer.from('RDP\0')
  const body = Buffer.concat([u32(SHARE_ID), u16(source.length, combined.length), source, combined, u32(0)])
  return Buffer.concat([u16(6 + body.length, 0x10 | PDUTYPE.DEMANDACTIVE, SERVER), body])
}
