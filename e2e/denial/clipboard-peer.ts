import { waitFor } from '@rap/testkit'
import { u16, u32 } from '../rdp-capabilities.ts'

/** msgType of the clipboard's header. Spec: [MS-RDPECLIP] §2.2.1. */
export const CB = {
  MONITOR_READY: 1,
  FORMAT_LIST: 2,
  FORMAT_LIST_RESPONSE: 3,
  FORMAT_DATA_REQUEST: 4,
  FORMAT_DATA_RESPONSE: 5,
  TEMP_DIRECTORY: 6,
  CLIP_CAPS: 7,
  FILECONTENTS_REQUEST: 8,
  FILECONTENTS_RESPONSE: 9,
  LOCK_CLIPDATA: 10,
  UNLOCK_CLIPDATA: 11,
} as const
export const CB_RESPONSE_OK = 1
export const CB_RESPONSE_FAIL = 2

/** Standard clipboard formats, and ids that an application chose for its own. */
export const FORMAT = { TEXT: 1, DIB: 8, UNICODETEXT: 13, HTML: 0xc0a1, FILES: 0xc0a2 } as const
/** All that a machine offers that has text, a picture, a page and files. */
const EVERYTHING: readonly (readonly [id: number, name: string])[] = [
  [FORMAT.UNICODETEXT, ''],
  [FORMAT.TEXT, ''],
  [FORMAT.DIB, ''],
  [FORMAT.HTML, 'HTML Format'],
  [FORMAT.FILES, 'FileGroupDescriptorW'],
]
/** Long names, streams of files without paths, locks, huge files. */
const ALL_CAPABILITIES = 0x02 | 0x04 | 0x08 | 0x10 | 0x20

export interface ClipboardMessage {
  readonly msgType: number
  readonly msgFlags: number
  readonly body: Buffer
}

export function decodeClipboardMessage(message: Buffer): ClipboardMessage {
  const length = message.readUInt32LE(4)
  return {
    msgType: message.readUInt16LE(0),
    msgFlags: message.readUInt16LE(2),
    body: message.subarray(8, 8 + length),
  }
}

/**
 * One end of the clipboard channel, written from [MS-RDPECLIP] alone, that offers everything, gives whatever it is
 * asked for, and keeps what it gets. It obeys nobody: the other end's capabilities are not looked at.
 */
export class ClipboardPeer {
  readonly #send: (message: Uint8Array) => void
  readonly received: ClipboardMessage[] = []
  /** What it has under each format, if anybody asks. */
  readonly content = new Map<number, Buffer>()

  constructor(send: (message: Uint8Array) => void) {
    this.#send = send
  }

  /** Takes a message of the other end. */
  take(bytes: Buffer): void {
    const message = decodeClipboardMessage(bytes)
    this.received.push(message)
    if (message.msgType === CB.FORMAT_LIST) this.say(CB.FORMAT_LIST_RESPONSE, CB_RESPONSE_OK)
    else if (message.msgType === CB.FORMAT_DATA_REQUEST) {
      const content = this.content.get(message.body.readUInt32LE(0))
      if (content === undefined) this.say(CB.FORMAT_DATA_RESPONSE, CB_RESPONSE_FAIL)
      else this.say(CB.FORMAT_DATA_RESPONSE, CB_RESPONSE_OK, content)
    } else if (message.msgType === CB.FILECONTENTS_REQUEST) {
      const content = this.content.get(FORMAT.FILES) ?? Buffer.alloc(0)
      this.say(CB.FILECONTENTS_RESPONSE, CB_RESPONSE_OK, message.body.subarray(0, 4), content)
    }
  }

  say(msgType: number, msgFlags = 0, ...parts: readonly Uint8Array[]): void {
    const body = Buffer.concat(parts)
    this.#send(Buffer.concat([u16(msgType, msgFlags), u32(body.length), body]))
  }

  sayCapabilities(): void {
    this.say(CB.CLIP_CAPS, 0, u16(1, 0), u16(1, 12), u32(2, ALL_CAPABILITIES))
  }

  /** Says that there is text, a picture, a page and files to be had. */
  offerEverything(): void {
    const entries = EVERYTHING.map(([id, name]) => Buffer.concat([u32(id), Buffer.from(`${name}\0`, 'utf16le')]))
    this.say(CB.FORMAT_LIST, 0, ...entries)
  }

  countOf(msgType: number): number {
    return this.received.filter(message => message.msgType === msgType).length
  }

  /** The formats of every list that came. */
  offers(): number[][] {
    return this.received.filter(({ msgType }) => msgType === CB.FORMAT_LIST).map(({ body }) => formatIds(body))
  }

  /** Asks for something and waits for what came back. */
  async ask(msgType: number, ...parts: readonly Uint8Array[]): Promise<ClipboardMessage> {
    const answerType = msgType + 1
    const before = this.countOf(answerType)
    this.say(msgType, 0, ...parts)
    return await waitFor(() => this.received.filter(message => message.msgType === answerType)[before], {
      what: `answer to the clipboard message ${msgType}`,
      intervalMs: 2,
    })
  }

  async askFor(format: number): Promise<ClipboardMessage> {
    return await this.ask(CB.FORMAT_DATA_REQUEST, u32(format))
  }

  /** Asks for the first bytes of the first file. */
  async askForFile(): Promise<ClipboardMessage> {
    const streamId = 7
    const range = 2
    return await this.ask(CB.FILECONTENTS_REQUEST, u32(streamId, 0, range, 0, 0, 65_536))
  }
}

/** Ids of a list with long names. */
function formatIds(body: Buffer): number[] {
  const ids: number[] = []
  for (let at = 0; at + 6 <= body.length; ) {
    ids.push(body.readUInt32LE(at))
    at += 4
    while (at + 2 <= body.length && body.readUInt16LE(at) !== 0) at += 2
    at += 2
  }
  return ids
}

export function unicodeText(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf16le')
}
