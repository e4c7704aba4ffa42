import { CHANNEL_FLAG, encodeDynvcPdu, PDUTYPE2, SEC } from '@rap/rdp/codecs'
import { waitFor } from '@rap/testkit'
import { u16, u32 } from '../rdp-capabilities.ts'
import type { Cell } from './cell.ts'
import { CB, CB_RESPONSE_OK, type ClipboardPeer, FORMAT, unicodeText } from './clipboard-peer.ts'
import { DEVICE_TYPE, ownDevices, STATUS_SUCCESS } from './device-peer.ts'
import { type Channel, CLIPBOARD_BYTES } from './policies.ts'
import type { TargetSession } from './target-session.ts'

/**
 * One thing that somebody tries. `word` is what the other side gets if it gets anything, and it gets it exactly where
 * `needs` is allowed: a channel of the policy, `always`, or `never`.
 */
export interface Attempt {
  readonly name: string
  readonly direction: 'client_to_server' | 'server_to_client'
  readonly needs: Channel | 'always' | 'never'
  /** Tries it, waits until all is over, and tells what whoever tried was told. */
  readonly act: (cell: Cell, word: string) => Promise<string> | string
  /** What is to be told; nothing where the attempt is answered by silence. */
  readonly told?: (cell: Cell) => string
  /** What the audit says of it, once a session whatever is tried again; nothing where only the counters know. */
  readonly audit?: (cell: Cell) => AuditWords | undefined
}

/** One event of the audit in words: event, code, channel and direction. */
export type AuditWords = string

const refusedChannel = (channel: string, direction: Attempt['direction']): AuditWords =>
  `channel_refused ERR_CHANNEL_REFUSED ${channel} ${direction}`
const withheld = (code: string, channel: string, direction: Attempt['direction']): AuditWords =>
  `channel_data_withheld ${code} ${channel} ${direction}`

export const DISPLAY_CONTROL = 'Microsoft::Windows::RDS::DisplayControl'
/** Ids of the dynamic channels that the target asks for. */
const DYNAMIC = { allowed: 11, refused: 12 } as const

const SILENCE = ''
const FORMAT_CODE = 'ERR_CLIPBOARD_FORMAT'
const hasClipboard = (cell: Cell): boolean =>
  cell.has('clipboard_client_to_server') || cell.has('clipboard_server_to_client')
/** Where the clipboard is open at all, whoever asks is told; else nobody is there. */
const askerIsTold = (whenOpen: string) => (cell: Cell) => (hasClipboard(cell) ? whenOpen : 'no channel')

const input: readonly Attempt[] = [
  {
    name: 'keys as fast-path input',
    direction: 'client_to_server',
    needs: 'input',
    act: ({ link }, word) => {
      link.client.rdp.sendInput(Buffer.from(word))
      return SILENCE
    },
  },
  {
    name: 'keys as slow-path input',
    direction: 'client_to_server',
    needs: 'input',
    act: ({ link }, word) => {
      link.client.rdp.sendShare(PDUTYPE2.INPUT, Buffer.from(word))
      return SILENCE
    },
  },
]

const picture: readonly Attempt[] = [
  {
    name: 'a picture as fast-path update',
    direction: 'server_to_client',
    needs: 'display',
    act: ({ target }, word) => {
      target.sendDisplay(Buffer.from(word))
      return SILENCE
    },
  },
  ...(['UPDATE', 'POINTER'] as const).map(
    (kind): Attempt => ({
      name: `a picture as slow-path ${kind}`,
      direction: 'server_to_client',
      needs: 'display',
      act: ({ target }, word) => {
        target.sendShare(PDUTYPE2[kind], Buffer.from(word))
        return SILENCE
      },
    }),
  ),
]

/** The two ends of the clipboard in one direction: who has the content, and who asks for it. */
interface Ends {
  readonly owner: ClipboardPeer
  readonly asker: ClipboardPeer
  /** Makes sure that what the owner said has come. */
  readonly arrive: () => Promise<void>
}

const DIRECTIONS = [
  {
    direction: 'client_to_server',
    needs: 'clipboard_client_to_server',
    from: 'the client',
    ends: (cell: Cell): Ends => ({ owner: cell.atClient, asker: cell.atTarget, arrive: () => cell.toTarget() }),
  },
  {
    direction: 'server_to_client',
    needs: 'clipboard_server_to_client',
    from: 'the target',
    ends: (cell: Cell): Ends => ({ owner: cell.atTarget, asker: cell.atClient, arrive: () => cell.toClient() }),
  },
] as const

/** The clipboard's first words: what a server says when its side is up, and the client's answer. */
const clipboardBegins: Attempt = {
  name: 'both ends of the clipboard say what they can',
  direction: 'server_to_client',
  needs: 'never',
  act: async cell => {
    if (!cell.knows('cliprdr')) return 'no channel'
    cell.atTarget.sayCapabilities()
    cell.atTarget.say(CB.MONITOR_READY)
    await waitFor(() => cell.atClient.countOf(CB.MONITOR_READY) === 1, { what: 'monitor ready', intervalMs: 2 })
    cell.atClient.sayCapabilities()
    cell.atClient.say(CB.FORMAT_LIST)
    await waitFor(() => cell.atClient.countOf(CB.FORMAT_LIST_RESPONSE) === 1, { what: 'list response', intervalMs: 2 })
    return 'ready'
  },
  told: askerIsTold('ready'),
  audit: cell => (hasClipboard(cell) ? undefined : refusedChannel('cliprdr', 'client_to_server')),
}

const clipboard: readonly Attempt[] = DIRECTIONS.flatMap(({ direction, needs, from, ends }): readonly Attempt[] => {
  const isOpen = (cell: Cell): boolean => cell.knows('cliprdr')
  /** The owner offers everything and has `content`; the asker asks. */
  const copy = async (cell: Cell, format: number, content: Buffer): Promise<string> => {
    if (!isOpen(cell)) {
      // A client may talk on a channel that the target does not have.
      if (direction === 'client_to_server') cell.atClient.offerEverything()
      return 'no channel'
    }
    const { owner, asker, arrive } = ends(cell)
    owner.content.clear()
    owner.content.set(format, content)
    owner.offerEverything()
    await arrive()
    const answer = format === FORMAT.FILES ? await asker.askForFile() : await asker.askFor(format)
    return (answer.msgFlags & CB_RESPONSE_OK) === 0 ? 'refused' : 'given'
  }
  const inAudit = (whenAllowed: string | undefined, whenDenied: string) => (cell: Cell) => {
    const code = cell.has(needs) ? whenAllowed : whenDenied
    return hasClipboard(cell) && code !== undefined ? withheld(code, 'cliprdr', direction) : undefined
  }
  const copied = (name: string, format: number, make: (word: string) => Buffer, code: string): Attempt => ({
    name: `${name} of ${from}`,
    direction,
    needs: 'never',
    act: (cell, word) => copy(cell, format, make(word)),
    told: askerIsTold('refused'),
    audit: inAudit(code, 'ERR_CLIPBOARD_DIRECTION'),
  })
  const said = (name: string, say: (owner: ClipboardPeer, word: string) => void): Attempt => ({
    name: `${name} of ${from}`,
    direction,
    needs: 'never',
    act: (cell, word) => {
      if (!isOpen(cell) && direction === 'server_to_client') return SILENCE
      say(ends(cell).owner, word)
      return SILENCE
    },
  })
  return [
    {
      name: `a text of ${from}`,
      direction,
      needs,
      act: (cell, word) => copy(cell, FORMAT.UNICODETEXT, unicodeText(word)),
      told: cell => (hasClipboard(cell) ? (cell.has(needs) ? 'given' : 'refused') : 'no channel'),
      audit: inAudit(undefined, 'ERR_CLIPBOARD_DIRECTION'),
    },
    {
      name: `nothing but text is offered by ${from}`,
      direction,
      needs: 'never',
      act: cell => {
        if (!isOpen(cell)) return 'no channel'
        const offered = new Set(ends(cell).asker.offers().flat())
        return [...offered].join()
      },
      told: cell => (hasClipboard(cell) ? (cell.has(needs) ? String(FORMAT.UNICODETEXT) : '') : 'no channel'),
    },
    copied('a text in a code page', FORMAT.TEXT, word => Buffer.from(`${word}\0`), FORMAT_CODE),
    copied('a page', FORMAT.HTML, word => Buffer.from(`<b>${word}</b>`), FORMAT_CODE),
    copied('a picture', FORMAT.DIB, word => Buffer.from(word), FORMAT_CODE),
    {
      ...copied('a file', FORMAT.FILES, word => Buffer.from(word), FORMAT_CODE),
      audit: inAudit(FORMAT_CODE, FORMAT_CODE),
    },
    copied(
      'a text over the limit',
      FORMAT.UNICODETEXT,
      word => unicodeText(word.padEnd(CLIPBOARD_BYTES / 2 + 1, 'x')),
      'ERR_CLIPBOARD_TOO_LARGE',
    ),
    {
      name: `what stands behind the end of a text of ${from}`,
      direction,
      needs: 'never',
      act: (cell, word) =>
        copy(cell, FORMAT.UNICODETEXT, Buffer.concat([unicodeText('short'), unicodeText(word), unicodeText(word)])),
      told: cell => (hasClipboard(cell) ? (cell.has(needs) ? 'given' : 'refused') : 'no channel'),
    },
    said('a text that nobody asked for', (owner, word) =>
      owner.say(CB.FORMAT_DATA_RESPONSE, CB_RESPONSE_OK, unicodeText(word)),
    ),
    said('the content of a file that nobody asked for', (owner, word) =>
      owner.say(CB.FILECONTENTS_RESPONSE, CB_RESPONSE_OK, u32(7), Buffer.from(word)),
    ),
    said('the name of a temporary folder', (owner, word) =>
      owner.say(CB.TEMP_DIRECTORY, 0, unicodeText(word.padEnd(259, '\0'))),
    ),
    said('a lock', (owner, word) => {
      owner.say(CB.LOCK_CLIPDATA, 0, Buffer.from(word.slice(0, 4)))
      owner.say(CB.UNLOCK_CLIPDATA, 0, Buffer.from(word.slice(0, 4)))
    }),
    {
      ...said('a message of an unknown kind', (owner, word) => owner.say(0x77, 0, Buffer.from(word))),
      audit: inAudit('ERR_CLIPBOARD_MALFORMED', 'ERR_CLIPBOARD_MALFORMED'),
    },
  ]
})

/** A message that claims to be 4 GiB long; the next one is read again. */
const bombs: readonly Attempt[] = (['cliprdr', 'rdpdr'] as const).flatMap((channel): readonly Attempt[] => [
  {
    name: `the beginning of 4 GiB on ${channel}`,
    direction: 'client_to_server',
    needs: 'never',
    act: ({ link }, word) => {
      const data = Buffer.from(word)
      link.client.rdp.sendChunk(channel, { length: 0xffffffff, flags: CHANNEL_FLAG.FIRST, data })
      link.client.rdp.sendChunk(channel, { length: 0xffffffff, flags: CHANNEL_FLAG.LAST, data })
      return SILENCE
    },
  },
  {
    name: `the beginning of 4 GiB of the target on ${channel}`,
    direction: 'server_to_client',
    needs: 'never',
    act: (cell, word) => {
      if (!cell.knows(channel)) return SILENCE
      const data = Buffer.from(word)
      cell.target.sendChunk(channel, { length: 0xffffffff, flags: CHANNEL_FLAG.FIRST, data })
      cell.target.sendChunk(channel, { length: 0xffffffff, flags: CHANNEL_FLAG.LAST, data })
      return SILENCE
    },
  },
])

const devices: readonly Attempt[] = [
  {
    name: "the client's own drive, printer, smart card and port",
    direction: 'client_to_server',
    needs: 'never',
    act: ({ link }, word) => {
      link.client.rdp.sendChannel('rdpdr', ownDevices(word))
      return SILENCE
    },
    audit: () => refusedChannel('rdpdr', 'client_to_server'),
  },
  {
    name: 'a file that is sent to the desktop',
    direction: 'client_to_server',
    needs: 'file_upload',
    act: async (cell, word) => {
      const outcome = await cell.link.upload('sent.txt', Buffer.from(word))
      if ('refused' in outcome) return outcome.refused
      const [drive] = await cell.devices.begin()
      const { id = 0, type } = drive ?? {}
      if (type !== DEVICE_TYPE.FILESYSTEM || cell.devices.devices.length !== 1) return 'another device'
      const opened = await cell.devices.create(id, `\\${outcome.name}`)
      const fileId = opened.output.readUInt32LE(0)
      const { ioStatus } = await cell.devices.read(id, fileId, 0, 4096)
      await cell.devices.close(id, fileId)
      return ioStatus === STATUS_SUCCESS ? 'read' : `status ${ioStatus.toString(16)}`
    },
    told: cell => (cell.has('file_upload') ? 'read' : cell.link.uploadRefusal),
    audit: ({ allowed, link }) => {
      if (allowed.has('file_upload')) return 'upload_finished - - -'
      const { uploadRefusal: code } = link
      return code.startsWith('ERR_BIND') ? `data_plane_bind_refused ${code} - -` : undefined
    },
  },
  {
    name: 'every change of the drive',
    direction: 'server_to_client',
    needs: 'never',
    act: async (cell, word) => {
      if (!cell.has('file_upload')) return 'no drive'
      const id = cell.devices.devices[0]?.id ?? 0
      const fileId = (await cell.devices.create(id, '\\sent.txt')).output.readUInt32LE(0)
      const outcomes = await cell.devices.changes(id, fileId, '\\sent.txt', word)
      const after = await cell.devices.read(id, fileId, 0, 4096)
      await cell.devices.close(id, fileId)
      const done = [...outcomes].filter(([, { ioStatus }]) => ioStatus === STATUS_SUCCESS).map(([name]) => name)
      return after.ioStatus === STATUS_SUCCESS ? done.join() : 'the file is gone'
    },
    told: cell => (cell.has('file_upload') ? '' : 'no drive'),
    audit: cell => (cell.has('file_upload') ? withheld('ERR_DRIVE_READ_ONLY', 'rdpdr', 'server_to_client') : undefined),
  },
  {
    name: 'what the target keeps in the cache of a printer',
    direction: 'server_to_client',
    needs: 'never',
    act: (cell, word) => {
      if (cell.knows('rdpdr')) cell.devices.sayPrinterCache(word)
      return SILENCE
    },
    audit: cell => (cell.has('file_upload') ? withheld('ERR_DRIVE_MALFORMED', 'rdpdr', 'server_to_client') : undefined),
  },
]

const otherChannels: readonly Attempt[] = [
  {
    name: 'sound of the client',
    direction: 'client_to_server',
    needs: 'never',
    act: ({ link }, word) => {
      link.client.rdp.sendChannel('rdpsnd', Buffer.from(word))
      return SILENCE
    },
    audit: () => refusedChannel('rdpsnd', 'client_to_server'),
  },
  {
    name: 'sound of the target',
    direction: 'server_to_client',
    needs: 'never',
    act: ({ target }, word) => {
      if (target.channels.has('rdpsnd')) target.sendChannel('rdpsnd', Buffer.from(word))
      return SILENCE
    },
  },
  {
    name: 'data on a channel that the target was never asked for',
    direction: 'server_to_client',
    needs: 'never',
    act: ({ target }, word) => {
      for (const id of [0xf000, 0xf001, 0xf002, 1099]) target.sendOnId(id, Buffer.from(word))
      return SILENCE
    },
  },
  {
    name: 'an allowed dynamic channel',
    direction: 'server_to_client',
    needs: 'display',
    act: async (cell, word) => {
      if (!cell.knows('drdynvc')) return 'no channel'
      return (await openDynamic(cell.target, DISPLAY_CONTROL, DYNAMIC.allowed, word)) >= 0 ? 'open' : 'refused'
    },
    told: cell => (cell.has('display') ? 'open' : 'no channel'),
    audit: cell => (cell.has('display') ? undefined : refusedChannel('drdynvc', 'client_to_server')),
  },
  {
    name: 'a dynamic channel for the microphone',
    direction: 'server_to_client',
    needs: 'never',
    act: async (cell, word) => {
      if (!cell.knows('drdynvc')) return 'no channel'
      const status = await openDynamic(cell.target, 'AUDIO_INPUT', DYNAMIC.refused, word)
      return cell.link.client.rdp.dynamicRequests.includes('AUDIO_INPUT') || status >= 0 ? 'open' : 'refused'
    },
    told: cell => (cell.has('display') ? 'refused' : 'no channel'),
    audit: cell => (cell.has('display') ? refusedChannel('AUDIO_INPUT', 'server_to_client') : undefined),
  },
  {
    name: 'an order to go over to UDP',
    direction: 'server_to_client',
    needs: 'never',
    act: (cell, word) => {
      // Spec: [MS-RDPBCGR] §2.2.15.1: requestId · requestedProtocol · reserved · securityCookie.
      cell.target.sendMessageChannel(
        SEC.TRANSPORT_REQ,
        Buffer.concat([u32(1), u16(1, 0), Buffer.from(word.padEnd(16))]),
      )
      if (cell.knows('drdynvc'))
        cell.target.sendChannel('drdynvc', encodeDynvcPdu({ type: 'soft_sync_request', body: Buffer.from(word) }))
      return SILENCE
    },
    audit: () => refusedChannel('udp', 'server_to_client'),
  },
  {
    name: 'a heartbeat',
    direction: 'server_to_client',
    needs: 'always',
    act: ({ target }, word) => {
      target.sendMessageChannel(SEC.HEARTBEAT, Buffer.from(word))
      return SILENCE
    },
  },
]

/** Asks for a dynamic channel and returns the answer, which is negative where it was refused. */
export async function askDynamic(target: TargetSession, channelName: string, channelId: number): Promise<number> {
  target.sendChannel('drdynvc', encodeDynvcPdu({ type: 'create_request', channelId, priority: 0, channelName }))
  const answer = await waitFor(
    () => target.messages.find(({ channel, message }) => channel === 'drdynvc' && message[1] === channelId),
    { what: `answer to ${channelName}`, intervalMs: 2 },
  )
  return answer.message.readInt32LE(2)
}

/** The same, and sends data on it whatever the answer is. */
export async function openDynamic(
  target: TargetSession,
  channelName: string,
  channelId: number,
  word: string,
): Promise<number> {
  const status = await askDynamic(target, channelName, channelId)
  const data = Buffer.from(word)
  target.sendChannel('drdynvc', encodeDynvcPdu({ type: 'data', channelId, compressed: false, data }))
  return status
}

/** In the order in which they are tried. */
export const ATTEMPTS: readonly Attempt[] = [
  ...input,
  ...picture,
  clipboardBegins,
  ...clipboard,
  ...devices,
  ...otherChannels,
  ...bombs,
]
