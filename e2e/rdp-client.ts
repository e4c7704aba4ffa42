import { pduSize } from '@rap/rdp'
import {
  CHANNEL_OPTION,
  type ChannelChunk,
  ChannelReassembler,
  CS,
  capabilitySets,
  type DomainParameters,
  decodeChannelChunk,
  decodeConferenceCreateResponse,
  decodeDynvcPdu,
  decodeFastPath,
  decodeLicenseMessage,
  decodeMcsConnectResponse,
  decodeMcsPdu,
  decodeSecurityHeader,
  decodeServerMessageChannelData,
  decodeServerNetworkData,
  decodeSetErrorInfo,
  decodeShareData,
  decodeUserDataBlocks,
  decodeX224Message,
  EARLY_CAPABILITY,
  encodeChannelChunk,
  encodeChannelMessage,
  encodeClientCoreData,
  encodeClientNetworkData,
  encodeConferenceCreateRequest,
  encodeDynvcPdu,
  encodeFastPath,
  encodeFlagsBlock,
  encodeInfoPacket,
  encodeMcsConnectInitial,
  encodeMcsPdu,
  encodeSecurityHeader,
  encodeSendData,
  encodeShareData,
  encodeUserDataBlocks,
  encodeX224Data,
  INFO,
  LICENSE_MESSAGE,
  PDUTYPE,
  PDUTYPE2,
  SC,
  SEC,
  STATUS_NO_LISTENER,
  splitSharePdus,
} from '@rap/rdp/codecs'
import { type ClientAbilities, clientCapabilitySets, u16, u32 } from './rdp-capabilities.ts'
import { scanCodes } from './scan-codes.ts'

export interface RdpClientOptions extends Partial<ClientAbilities> {
  /** Static channels to ask for. */
  readonly channels?: readonly string[]
  /** What the client says that its logon is; the worker has to drop it. */
  readonly username?: string
  readonly password?: string
  /** Takes the bytes for the other side. */
  readonly send: (bytes: Uint8Array) => void
  /** Takes every whole message of a static channel. */
  readonly onChannel?: (channel: string, message: Buffer) => void
  /** Dynamic channels that the client opens when it is asked to; every other one it refuses. */
  readonly dynamicChannels?: readonly string[]
  /** Takes everything else that the server says once the client has joined its channels. */
  readonly onOther?: (kind: 'share' | 'fast-path' | 'message-channel', bytes: Buffer) => void
}

/** Bounds one message of a static channel, in bytes. */
const MAX_CHANNEL_MESSAGE_BYTES = 32 * 1024 * 1024

/** The capability set of a server that tells which input it reads. */
const INPUT_CAPABILITY = 13
const FASTPATH_INPUT = 0x0008 | 0x0020
const CONTROL_REQUEST = 1
const CONTROL_COOPERATE = 4
const KBDFLAGS_RELEASE = 0x8000
const INPUT_EVENT_SCANCODE = 4

/**
 * A small RDP client without I/O, from MCS Connect Initial to the active desktop: enough to see a desktop come up and
 * to type on it. It draws nothing and counts what it gets.
 */
export class RdpClient {
  readonly #options: RdpClientOptions
  readonly #abilities: ClientAbilities
  readonly #joins: number[] = []
  #buffered: Buffer = Buffer.alloc(0)
  #user = 0
  #io = 0
  #messageChannel = 0
  readonly #channels = new Map<string, number>()
  readonly #reassemblers = new Map<string, ChannelReassembler>()
  #shareId = 0
  #isConnected = false
  #isLicensed = false
  #fastPathInput = false
  /** How often the server has finished its sequence; a server that changes the size does it again. */
  activations = 0
  /** Bytes of updates, by the way that they came. */
  readonly updates = { fastPath: 0, slowPath: 0 }
  /** errorInfo of a Set Error Info PDU. */
  errorInfo = 0
  /** Every share PDU type and data PDU type that was seen. */
  readonly seen = new Set<number>()
  /** Names of every dynamic channel that the server asked for. */
  readonly dynamicRequests: string[] = []

  constructor(options: RdpClientOptions) {
    this.#options = options
    const { colorDepth = 32, width = 1024, height = 768, fastPathOutput = true } = options
    this.#abilities = { colorDepth, width, height, fastPathOutput }
  }

  get isActive(): boolean {
    return this.activations > 0
  }

  start(): void {
    this.#send(encodeX224Data(this.#connectInitial()))
  }

  /** Takes bytes of the server, cut anywhere. */
  push(chunk: Uint8Array): void {
    this.#buffered = Buffer.concat([this.#buffered, chunk])
    for (;;) {
      const size = pduSize(this.#buffered, 0, this.#buffered.length)
      if (size === 0 || size > this.#buffered.length) return
      const pdu = this.#buffered.subarray(0, size)
      this.#buffered = this.#buffered.subarray(size)
      if (pdu[0] === 3) this.#slowPath(pdu)
      else this.#fastPath(decodeFastPath(pdu).body)
    }
  }

  /** Presses and releases the keys of a line, and Enter; small letters, digits and a few marks of a US keyboard. */
  typeLine(line: string): void {
    for (const { code, shift } of scanCodes(`${line}\n`)) {
      if (shift) this.#key(0x2a, true)
      this.#key(code, true)
      this.#key(code, false)
      if (shift) this.#key(0x2a, false)
    }
  }

  /** Sends a message on a static channel that was asked for, as the chunks it takes. */
  sendChannel(channel: string, message: Uint8Array): void {
    for (const chunk of encodeChannelMessage(message)) this.#onChannel(channel, chunk)
  }

  /** Sends one chunk as it is, whatever it claims. */
  sendChunk(channel: string, chunk: ChannelChunk): void {
    this.#onChannel(channel, encodeChannelChunk(chunk))
  }

  /** Sends events of input as one fast-path PDU, whether or not the server has said that it reads such. */
  sendInput(events: Uint8Array): void {
    this.#send(encodeFastPath({ numEvents: 1, flags: 0, body: events }))
  }

  /** Sends a share data PDU. */
  sendShare(pduType2: number, body: Uint8Array): void {
    this.#share(pduType2, body)
  }

  #onChannel(channel: string, chunk: Uint8Array): void {
    const channelId = this.#channels.get(channel)
    if (channelId === undefined) throw new Error(`channel ${channel} was not asked for`)
    this.#send(encodeSendData('send_data_request', { initiator: this.#user, channelId }, chunk))
  }

  #key(code: number, down: boolean): void {
    if (this.#fastPathInput) {
      this.sendInput(Uint8Array.of(down ? 0 : 1, code))
      return
    }
    const event = Buffer.concat([u16(1, 0), u32(0), u16(INPUT_EVENT_SCANCODE, down ? 0 : KBDFLAGS_RELEASE, code, 0)])
    this.#share(PDUTYPE2.INPUT, event)
  }

  #slowPath(packet: Buffer): void {
    const message = decodeX224Message(packet)
    if (message.type === 'disconnect') return
    if (!this.#isConnected) {
      this.#connectResponse(message.userData)
      return
    }
    const pdu = decodeMcsPdu(message.userData)
    switch (pdu.type) {
      case 'attach_user_confirm':
        this.#user = pdu.initiator ?? 0
        this.#joins.unshift(this.#user)
        this.#joinNext()
        return
      case 'channel_join_confirm':
        if (pdu.result !== 0) throw new Error('channel was not joined')
        this.#joinNext()
        return
      case 'send_data_indication':
        if (pdu.channelId === this.#io) this.#ioChannel(pdu.userData)
        else if (pdu.channelId === this.#messageChannel)
          this.#options.onOther?.('message-channel', Buffer.from(pdu.userData))
        else this.#staticChannel(pdu.channelId, pdu.userData)
        return
      default:
    }
  }

  #fastPath(body: Uint8Array): void {
    this.updates.fastPath += body.length
    this.#options.onOther?.('fast-path', Buffer.from(body))
  }

  #staticChannel(channelId: number, userData: Uint8Array): void {
    const name = [...this.#channels].find(([, id]) => id === channelId)?.[0]
    if (name === undefined) throw new Error(`data on channel ${channelId}, which was not asked for`)
    const reassembler = this.#reassemblers.get(name) ?? new ChannelReassembler(MAX_CHANNEL_MESSAGE_BYTES)
    this.#reassemblers.set(name, reassembler)
    const message = reassembler.push(decodeChannelChunk(userData))
    if (message === undefined) return
    if (name === 'drdynvc') this.#dynamic(message)
    this.#options.onChannel?.(name, Buffer.from(message))
  }

  /** Takes part in the static channel that carries the dynamic ones. */
  #dynamic(message: Uint8Array): void {
    const pdu = decodeDynvcPdu(message, 'server')
    if (pdu.type === 'capabilities') {
      this.sendChannel('drdynvc', encodeDynvcPdu({ type: 'capabilities', version: pdu.version, priorityCharges: [] }))
    } else if (pdu.type === 'create_request') {
      const { channelId, channelName } = pdu
      this.dynamicRequests.push(channelName)
      const creationStatus = this.#options.dynamicChannels?.includes(channelName) === true ? 0 : STATUS_NO_LISTENER
      this.sendChannel('drdynvc', encodeDynvcPdu({ type: 'create_response', channelId, creationStatus }))
    }
  }

  #connectResponse(userData: Uint8Array): void {
    const { result, userData: gcc } = decodeMcsConnectResponse(userData)
    if (result !== 0) throw new Error(`MCS Connect Response says ${result}`)
    const blocks = new Map(
      decodeUserDataBlocks(decodeConferenceCreateResponse(gcc).userData).map(({ type, data }) => [type, data]),
    )
    const network = decodeServerNetworkData(blocks.get(SC.NET) ?? new Uint8Array())
    const messages = blocks.get(SC.MCS_MSGCHANNEL)
    this.#io = network.mcsChannelId
    this.#joins.push(this.#io, ...network.channelIds.filter(id => id !== 0))
    for (const [index, name] of (this.#options.channels ?? []).entries()) {
      const id = network.channelIds[index] ?? 0
      if (id !== 0) this.#channels.set(name, id)
    }
    if (messages !== undefined) this.#messageChannel = decodeServerMessageChannelData(messages)
    if (messages !== undefined) this.#joins.push(this.#messageChannel)
    this.#isConnected = true
    this.#send(encodeX224Data(encodeMcsPdu({ type: 'erect_domain_request' })))
    this.#send(encodeX224Data(encodeMcsPdu({ type: 'attach_user_request' })))
  }

  #joinNext(): void {
    const channelId = this.#joins.shift()
    if (channelId === undefined) this.#clientInfo()
    else this.#send(encodeX224Data(encodeMcsPdu({ type: 'channel_join_request', initiator: this.#user, channelId })))
  }

  #ioChannel(userData: Uint8Array): void {
    if (!this.#isLicensed) {
      this.#license(userData)
      return
    }
    for (const { pduType, bytes } of splitSharePdus(userData)) {
      if (pduType === PDUTYPE.DEMANDACTIVE) this.#demandActive(bytes)
      else if (pduType === PDUTYPE.DATA) this.#data(bytes)
    }
  }

  /** Answers a licence server as far as one without licences looks at it. */
  #license(userData: Uint8Array): void {
    const { messageType } = decodeLicenseMessage(decodeSecurityHeader(userData).body)
    if (messageType === LICENSE_MESSAGE.ERROR_ALERT) this.#isLicensed = true
    else if (messageType === LICENSE_MESSAGE.LICENSE_REQUEST) {
      const answer = Uint8Array.of(LICENSE_MESSAGE.NEW_LICENSE_REQUEST, 0x83, 4, 0)
      this.#onIo(encodeSecurityHeader(SEC.LICENSE_PKT), answer)
    }
  }

  #demandActive(bytes: Uint8Array): void {
    this.#shareId = Buffer.from(bytes).readUInt32LE(6)
    const input = capabilitySets(bytes).find(({ type }) => type === INPUT_CAPABILITY)?.data
    this.#fastPathInput = input !== undefined && (Buffer.from(input).readUInt16LE(0) & FASTPATH_INPUT) !== 0
    const sets = clientCapabilitySets(this.#abilities)
    const source = Buffer.from('MSTSC\0')
    const body = Buffer.concat([u32(this.#shareId), u16(0x3ea, source.length, sets.length), source, sets])
    const header = u16(6 + body.length, 0x10 | PDUTYPE.CONFIRMACTIVE, this.#user)
    this.#onIo(header, body)
    this.#share(PDUTYPE2.SYNCHRONIZE, u16(1, 0x3ea))
    this.#share(PDUTYPE2.CONTROL, Buffer.concat([u16(CONTROL_COOPERATE, 0), u32(0)]))
    this.#share(PDUTYPE2.CONTROL, Buffer.concat([u16(CONTROL_REQUEST, 0), u32(0)]))
    this.#share(PDUTYPE2.FONTLIST, u16(0, 0, 3, 50))
  }

  #data(bytes: Uint8Array): void {
    const { pduType2, body } = decodeShareData(bytes)
    this.seen.add(pduType2)
    this.#options.onOther?.('share', Buffer.concat([Uint8Array.of(pduType2), body]))
    if (pduType2 === PDUTYPE2.FONTMAP) this.activations++
    else if (pduType2 === PDUTYPE2.UPDATE) this.updates.slowPath += body.length
    else if (pduType2 === PDUTYPE2.SET_ERROR_INFO) this.errorInfo = decodeSetErrorInfo(body)
  }

  #clientInfo(): void {
    const text = (value: string | undefined) => Buffer.from(value ?? '', 'utf16le')
    const packet = encodeInfoPacket({
      codePage: 0x409,
      // xrdp takes the first four for a sign that it could decrypt the packet.
      flags: INFO.MOUSE | INFO.DISABLECTRLALTDEL | INFO.UNICODE | INFO.MAXIMIZESHELL | INFO.LOGONNOTIFY,
      domain: text(undefined),
      userName: text(this.#options.username),
      password: text(this.#options.password),
      alternateShell: text(undefined),
      workingDir: text(undefined),
    })
    this.#onIo(encodeSecurityHeader(SEC.INFO_PKT), packet)
  }

  #share(pduType2: number, body: Uint8Array): void {
    this.#onIo(encodeShareData({ pduSource: this.#user, shareId: this.#shareId, streamId: 1, pduType2, body }))
  }

  #onIo(...parts: readonly Uint8Array[]): void {
    this.#send(encodeSendData('send_data_request', { initiator: this.#user, channelId: this.#io }, ...parts))
  }

  #send(bytes: Uint8Array): void {
    this.#options.send(bytes)
  }

  #connectInitial(): Uint8Array {
    const { width, height, colorDepth } = this.#abilities
    const early = EARLY_CAPABILITY.SUPPORT_ERRINFO_PDU | EARLY_CAPABILITY.VALID_CONNECTION_TYPE
    const core = encodeClientCoreData({
      version: 0x00080004,
      desktopWidth: width,
      desktopHeight: height,
      colorDepth: 0xca01,
      sasSequence: 0xaa03,
      keyboardLayout: 0x409,
      clientBuild: 2600,
      clientName: Buffer.concat([Buffer.from('test', 'utf16le'), Buffer.alloc(24)]),
      keyboardType: 4,
      keyboardSubType: 0,
      keyboardFunctionKey: 12,
      imeFileName: new Uint8Array(64),
      postBeta2ColorDepth: 0xca01,
      clientProductId: 1,
      serialNumber: 0,
      highColorDepth: Math.min(colorDepth, 24),
      // 24, 16, 15 and 32 bits, each with its own flag.
      supportedColorDepths: 0x000f,
      earlyCapabilityFlags: early | (colorDepth === 32 ? EARLY_CAPABILITY.WANT_32BPP_SESSION : 0),
      clientDigProductId: new Uint8Array(64),
      connectionType: 6,
      serverSelectedProtocol: 1,
    })
    const channels = (this.#options.channels ?? []).map(name => ({ name, options: CHANNEL_OPTION.INITIALIZED }))
    const blocks = [
      { type: CS.CORE, data: core },
      { type: CS.CLUSTER, data: u32(0x0d, 0) },
      { type: CS.SECURITY, data: u32(0, 0) },
      { type: CS.NET, data: encodeClientNetworkData({ channels }) },
      { type: CS.MCS_MSGCHANNEL, data: encodeFlagsBlock(0) },
    ]
    return encodeMcsConnectInitial({
      callingDomainSelector: Uint8Array.of(1),
      calledDomainSelector: Uint8Array.of(1),
      upwardFlag: true,
      targetParameters: TARGET,
      minimumParameters: MINIMUM,
      maximumParameters: MAXIMUM,
      userData: encodeConferenceCreateRequest(encodeUserDataBlocks(blocks)),
    })
  }
}

const TARGET: DomainParameters = {
  maxChannelIds: 34,
  maxUserIds: 2,
  maxTokenIds: 0,
  numPriorities: 1,
  minThroughput: 0,
  maxHeight: 1,
  maxMcsPduSize: 65535,
  protocolVersion: 2,
}
const MINIMUM: DomainParameters = { ...TARGET, maxChannelIds: 1, maxUserIds: 1, maxTokenIds: 1, maxMcsPduSize: 1056 }
const MAXIMUM: DomainParameters = { ...TARGET, maxChannelIds: 65535, maxUserIds: 64535, maxTokenIds: 65535 }
