import { CHANNEL_FLAG, type ChannelChunk } from '../../src/channel-pdu.ts'
import { CB_GENERAL, decodeClipboardCapabilities, encodeClipboardCapabilities } from '../../src/cliprdr/capabilities.ts'
import { decodeFormatIds } from '../../src/cliprdr/format-list.ts'
import { CB, decodeCliprdrPdu, decodeResponseFlags, encodeCliprdrPdu } from '../../src/cliprdr/pdu.ts'
import { Clipboard, type ClipboardPolicy } from '../../src/relay/clipboard.ts'
import { utf16le } from '../helper.ts'

export type ClipboardSide = 'client' | 'server'

export const BOTH_WAYS: ClipboardPolicy = { clientToServer: true, serverToClient: true, maxBytes: 4096 }
export const LONG = CB_GENERAL.USE_LONG_FORMAT_NAMES
export const ALL_FLAGS = Object.values(CB_GENERAL).reduce((all, flag) => all | flag, 0)

/** What is kept of a message that is not kept. */
export const TYPE_BYTES = 2

/** A message of either side, as bytes. */
export function message(msgType: number, data: Uint8Array = new Uint8Array(0), msgFlags = 0): Uint8Array {
  return encodeCliprdrPdu({ msgType, msgFlags, data })
}

export const ready = message(CB.MONITOR_READY)
export const capabilities = (generalFlags: number): Uint8Array =>
  encodeClipboardCapabilities({ version: 2, generalFlags })
/** A list with long names. */
export function list(...formats: readonly (readonly [id: number, name: string])[]): Uint8Array {
  const parts = formats.flatMap(([id, name]) => [u32(id), utf16le(`${name}\0`)])
  return message(CB.FORMAT_LIST, new Uint8Array(Buffer.concat(parts)))
}
export const textList = list([13, ''])
export const request = (id = 13): Uint8Array => message(CB.FORMAT_DATA_REQUEST, u32(id))
export const text = (words: string): Uint8Array => message(CB.FORMAT_DATA_RESPONSE, utf16le(`${words}\0`), 1)
export const noText = message(CB.FORMAT_DATA_RESPONSE, new Uint8Array(0), 2)
export const listOk = message(CB.FORMAT_LIST_RESPONSE, new Uint8Array(0), 1)

/** One message in chunks of `size` bytes. */
export function chunksOf(bytes: Uint8Array, size = 1600): ChannelChunk[] {
  const chunks: ChannelChunk[] = []
  for (let at = 0; at === 0 || at < bytes.length; at += size) {
    const data = bytes.subarray(at, at + size)
    const first = at === 0 ? CHANNEL_FLAG.FIRST : 0
    const last = at + data.length === bytes.length ? CHANNEL_FLAG.LAST : 0
    chunks.push({ length: bytes.length, flags: first | last | CHANNEL_FLAG.SHOW_PROTOCOL, data })
  }
  return chunks
}

/** A clipboard, and in words what it does. */
export class ClipboardHarness {
  readonly clipboard: Clipboard
  /** What went to each side, in order. */
  readonly sent: { readonly to: ClipboardSide; readonly bytes: Uint8Array }[] = []
  #done: string[] = []

  constructor(policy: Partial<ClipboardPolicy> = {}) {
    const send = (to: ClipboardSide) => (bytes: Uint8Array) => {
      const copy = Uint8Array.from(bytes)
      this.sent.push({ to, bytes: copy })
      this.#done.push(`${to}: ${inWords(copy)}`)
    }
    this.clipboard = new Clipboard(
      {
        toClient: send('client'),
        toServer: send('server'),
        withheld: (direction, code) => this.#done.push(`${direction} ${code}`),
        passed: (direction, bytes) => this.#done.push(`${direction} ${bytes} bytes`),
      },
      { ...BOTH_WAYS, ...policy },
    )
  }

  /** Feeds one message, and says what has come of it. */
  client(bytes: Uint8Array, size?: number): string[] {
    for (const chunk of chunksOf(bytes, size)) this.clipboard.fromClient(chunk)
    return this.take()
  }

  server(bytes: Uint8Array, size?: number): string[] {
    for (const chunk of chunksOf(bytes, size)) this.clipboard.fromServer(chunk)
    return this.take()
  }

  take(): string[] {
    const done = this.#done
    this.#done = []
    return done
  }

  /** After the start with long names on both sides. */
  ready(): this {
    this.server(capabilities(LONG))
    this.server(ready)
    this.client(capabilities(LONG))
    return this
  }

  /** After the start and a list with text from each side that is allowed to send one. */
  offered(): this {
    this.ready()
    this.client(textList)
    this.server(textList)
    return this
  }
}

/** A message of ours in words; throws where it is not exactly as the specification has it. */
export function inWords(bytes: Uint8Array): string {
  const { msgType, msgFlags, data } = decodeCliprdrPdu(bytes)
  if (data.length !== bytes.length - 8) throw new Error('bytes behind the message')
  const answers: number[] = [CB.FORMAT_LIST_RESPONSE, CB.FORMAT_DATA_RESPONSE, CB.FILECONTENTS_RESPONSE]
  if (!answers.includes(msgType) && msgFlags !== 0) throw new Error(`flags ${msgFlags} on type ${msgType}`)
  if (answers.includes(msgType) && msgFlags !== 1 && msgFlags !== 2) throw new Error(`answer with flags ${msgFlags}`)
  switch (msgType) {
    case CB.MONITOR_READY:
      return sized(data, 0, 'ready')
    case CB.CLIP_CAPS: {
      const { version, generalFlags } = decodeClipboardCapabilities(data)
      return sized(data, 16, `capabilities ${version} ${generalFlags}`)
    }
    case CB.FORMAT_LIST: {
      const long = data.length !== 36
      return `${data.length === 0 ? 'empty' : long ? 'long' : 'short'} list ${[...decodeFormatIds(data, { long, ascii: false })]}`.trim()
    }
    case CB.FORMAT_LIST_RESPONSE:
      return sized(data, 0, `list ${decodeResponseFlags(msgFlags) ? 'ok' : 'failed'}`)
    case CB.FORMAT_DATA_REQUEST:
      return sized(data, 4, `request ${new DataView(data.buffer, data.byteOffset).getUint32(0, true)}`)
    case CB.FORMAT_DATA_RESPONSE: {
      const words = Buffer.from(data).toString('utf16le')
      if (!decodeResponseFlags(msgFlags)) {
        if (data.some(byte => byte !== 0)) throw new Error('a failure with something in it')
        return sized(data, 2, 'no text')
      }
      if (data.length % 2 !== 0 || words.indexOf('\0') !== words.length - 1) throw new Error('not one terminated text')
      if (!words.isWellFormed()) throw new Error('lone surrogate')
      return `text ${words.slice(0, -1)}`
    }
    case CB.FILECONTENTS_RESPONSE:
      if (decodeResponseFlags(msgFlags)) throw new Error('a file')
      return sized(data, 4, `no file for ${data[0]}`)
    default:
      throw new Error(`type ${msgType} has no business here`)
  }
}

function sized(data: Uint8Array, size: number, words: string): string {
  if (data.length !== size) throw new Error(`${words}: ${data.length} bytes instead of ${size}`)
  return words
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}
