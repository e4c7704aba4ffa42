import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  canStartXrdp,
  type PlatformTarget,
  startPlatform,
  startShadow,
  startXrdp,
  targetOf,
  waitFor,
  type XrdpServer,
} from '@rap/testkit'
import t, { type Test } from 'tap'
import { newWord } from './denial/cell.ts'
import { CB, CB_RESPONSE_OK, ClipboardPeer, FORMAT, unicodeText } from './denial/clipboard-peer.ts'
import { type Link, Links, type Path, type Transport } from './denial/links.ts'
import { CHANNELS, type Channel, PolicyWriter } from './denial/policies.ts'
import { carries } from './denial/target-session.ts'
import { noDriveHere, onDrive } from './session-shell.ts'
import { XClipboard } from './x-clipboard.ts'

const password = 'servers-Pa55'
const able = canStartXrdp()
const platform = await startPlatform()
t.teardown(() => platform.stop())
const policies = new PolicyWriter(platform)
await policies.organization(CHANNELS)
const links = new Links(platform)
await links.login()

/** Static channels that a client of many talents asks for; nobody may say a word on `SILENT`. */
const SILENT = ['rdpdr', 'rdpsnd', 'encomsp', 'remdesk']
const DISPLAY_CONTROL = 'Microsoft::Windows::RDS::DisplayControl'

/** A session on a real server. */
interface Live {
  readonly link: Link
  readonly clipboard: ClipboardPeer
  /** Where programs of the desktop leave their files. */
  readonly home: string
}

/**
 * Uses a channel, and waits for the effect where it `may` have one. What it answers is asked when everything else in the
 * session is done: did it have its effect on the desktop, or at the client?
 */
type Effect = (live: Live, may: boolean) => Promise<() => boolean>

const POSITIVE = { timeoutMs: 20_000, intervalMs: 100 }

const picture: Effect = async ({ link }, may) => {
  const { updates } = link.client.rdp
  const came = (): boolean => updates.fastPath + updates.slowPath > 0
  if (may) await waitFor(came, { ...POSITIVE, what: 'a picture' })
  return came
}

const keys: Effect = async ({ link, home }, may) => {
  const name = newWord()
  const done = (): boolean => existsSync(join(home, name))
  let typedAt = Number.NEGATIVE_INFINITY
  // A desktop that has just come up may not have the keyboard yet.
  const type = (): void => {
    if (done() || performance.now() - typedAt < 1500) return
    link.client.rdp.typeLine(`touch ${name}`)
    typedAt = performance.now()
  }
  const typed = (): boolean => {
    type()
    return done()
  }
  if (may) await waitFor(typed, { ...POSITIVE, what: 'what was typed' })
  else type()
  return done
}

const textTo =
  (desktop: XClipboard): Effect =>
  async ({ clipboard }, may) => {
    const word = newWord()
    const before = clipboard.countOf(CB.FORMAT_DATA_REQUEST)
    const answered = clipboard.countOf(CB.FORMAT_LIST_RESPONSE)
    clipboard.content.set(FORMAT.UNICODETEXT, unicodeText(word))
    clipboard.offerEverything()
    await waitFor(() => clipboard.countOf(CB.FORMAT_LIST_RESPONSE) > answered, { what: 'the answer to the offer' })
    const isPasted = async (): Promise<boolean> => (await desktop.paste()) === word
    if (may) await waitFor(isPasted, { ...POSITIVE, what: 'the text on the desktop' })
    else if (await isPasted()) throw new Error('the text is on the desktop')
    // The client gives its text to whoever asks, so that it counts whether anybody has.
    return () => clipboard.countOf(CB.FORMAT_DATA_REQUEST) > before
  }

const textFrom =
  (desktop: XClipboard): Effect =>
  async ({ clipboard }, may) => {
    const word = newWord()
    await desktop.copy(word)
    const isGiven = async (): Promise<boolean> => {
      const { msgFlags, body } = await clipboard.askFor(FORMAT.UNICODETEXT)
      return msgFlags === CB_RESPONSE_OK && body.equals(unicodeText(word))
    }
    if (may) await waitFor(isGiven, { ...POSITIVE, what: 'the text at the client' })
    else if (await isGiven()) throw new Error('the text is at the client')
    return () => clipboard.received.some(({ body }) => carries(body, word))
  }

const fileTo =
  (server: XrdpServer): Effect =>
  async ({ link }, may) => {
    const word = newWord()
    const outcome = await link.upload('sent.txt', Buffer.from(word))
    const isThere = async (): Promise<boolean> => (await onDrive(server, 'cat sent.txt')).out === word
    if (may) await waitFor(isThere, { ...POSITIVE, what: 'the file on the desktop' })
    else if (await isThere()) throw new Error('the file is on the desktop')
    return () => 'name' in outcome
  }

interface Row {
  readonly off: Channel | undefined
  readonly transport: Transport
  readonly path: Path
}

/** Events of a session with the channel that they name, and the code of what was held back inside one. */
async function auditOf(sessionId: string): Promise<readonly string[]> {
  const query = `organization_id=${platform.organizationId}&session_id=${sessionId}&limit=200`
  type Events = { items: { event: string; code: string; details: { channel?: string; channels?: string } }[] }
  const { items } = await platform.api.call<Events>('GET', `/v1/audit-events?${query}`)
  return items
    .filter(({ event }) => /^(channel_|relay_)/.test(event))
    .flatMap(({ event, code, details: { channel, channels } }) =>
      channels === undefined
        ? [`${event} ${channel} ${code}`]
        : channels.split(', ').map(entry => `${event} ${entry.replace(/^\S+ /, '')}`),
    )
}

/** One session under everything but one channel: every effect is looked for, and only what is off may be missing. */
async function tryRow(
  t: Test,
  row: Row,
  place: { readonly target: PlatformTarget; readonly home: string; readonly effects: Partial<Record<Channel, Effect>> },
): Promise<void> {
  const { off, transport, path } = row
  const { id: resourceId } = await platform.addTarget({ ...place.target, name: `${place.target.name} ${off}` })
  await policies.resource(resourceId, { channels: CHANNELS.filter(channel => channel !== off) })
  const channels = [...SILENT, 'cliprdr', 'drdynvc']
  const link = await links.open({ resourceId, transport, path, channels, dynamicChannels: [DISPLAY_CONTROL] })
  try {
    const { client } = link
    const clipboard = new ClipboardPeer(message => client.rdp.sendChannel('cliprdr', message))
    const begin = (message: Buffer): void => {
      clipboard.take(message)
      if (message.readUInt16LE(0) !== CB.MONITOR_READY) return
      clipboard.sayCapabilities()
      clipboard.say(CB.FORMAT_LIST)
    }
    for (const { channel, message } of client.messages) if (channel === 'cliprdr') begin(message)
    client.onMessage(({ channel, message }) => {
      if (channel === 'cliprdr') begin(message)
    })
    if ('clipboard_client_to_server' in place.effects) {
      await waitFor(() => clipboard.countOf(CB.FORMAT_LIST_RESPONSE) > 0, { ...POSITIVE, what: 'the clipboard' })
    }
    const live: Live = { link, clipboard, home: place.home }
    const checks = new Map<string, () => boolean>()
    const due: Record<string, boolean> = {}
    // What is off comes first: what it would have done is there when the others are done.
    const order = Object.entries(place.effects).sort(([left], [right]) => Number(right === off) - Number(left === off))
    for (const [channel, effect] of order) {
      due[channel] = channel !== off
      checks.set(channel, await effect(live, channel !== off))
    }
    const seen = Object.fromEntries([...checks].map(([channel, check]) => [channel, check()]))
    t.same(seen, due, 'what had its effect')
    t.same(client.failure, undefined)
    t.same(
      client.messages.filter(({ channel }) => SILENT.includes(channel)),
      [],
      'no word on a refused channel',
    )
    t.same(
      client.rdp.dynamicRequests.filter(name => name !== DISPLAY_CONTROL),
      [],
      'no other dynamic channel',
    )
    const audit = await waitFor(
      async () => {
        const events = await auditOf(link.sessionId)
        return SILENT.every(name => events.includes(`channel_refused ${name}`)) && events
      },
      { ...POSITIVE, what: `the audit of ${SILENT.join()}` },
    )
    t.same(audit, [...new Set(audit)], 'each refusal is told once')
    t.notOk(audit.some(words => words.startsWith('relay_protocol_violation')))
  } finally {
    link.close()
    await platform.api.send('POST', `/v1/sessions/${link.sessionId}/terminate`, { body: {} })
  }
}

t.jobs = 2

t.test("on FreeRDP's server every channel that is off has no effect", { buffered: true }, async t => {
  const shadow = await startShadow({ username: 'svc', password, security: 'nla', width: 800, height: 600 })
  t.teardown(() => shadow.stop())
  const target = targetOf(shadow, { name: 'freerdp', credential: { username: 'svc', password }, security: 'nla' })
  const rows: readonly Row[] = [
    { off: undefined, transport: 'sdk binary_v1', path: 'direct' },
    { off: undefined, transport: 'rdcleanpath_v1', path: 'gateway' },
    { off: 'input', transport: 'rdcleanpath_v1', path: 'direct' },
    { off: 'input', transport: 'sdk json_v1', path: 'gateway' },
    { off: 'display', transport: 'json_v1', path: 'direct' },
    { off: 'display', transport: 'sdk binary_v1', path: 'gateway' },
  ]
  for (const row of rows) {
    await t.test(`${row.off ?? 'nothing'} is off, ${row.transport}, ${row.path}`, async t => {
      await tryRow(t, row, { target, home: shadow.home, effects: { display: picture, input: keys } })
    })
  }
})

t.test('on xrdp every channel that is off has no effect', { buffered: true, skip: noDriveHere() }, async t => {
  if (!able.ok) return
  const xrdp = await startXrdp()
  t.teardown(() => xrdp.stop())
  const { username, home } = xrdp
  const target = targetOf(xrdp, { name: 'xrdp', credential: { username, password: xrdp.password }, security: 'tls' })
  const desktop = new XClipboard(xrdp.env)
  t.teardown(() => desktop.close())
  const effects: Partial<Record<Channel, Effect>> = {
    display: picture,
    input: keys,
    clipboard_client_to_server: textTo(desktop),
    clipboard_server_to_client: textFrom(desktop),
    file_upload: fileTo(xrdp),
  }
  const rows: readonly Row[] = [
    { off: undefined, transport: 'sdk binary_v1', path: 'direct' },
    { off: 'input', transport: 'rdcleanpath_v1', path: 'gateway' },
    { off: 'clipboard_client_to_server', transport: 'sdk json_v1', path: 'gateway' },
    { off: 'clipboard_server_to_client', transport: 'rdcleanpath_v1', path: 'direct' },
    { off: 'file_upload', transport: 'json_v1', path: 'direct' },
    { off: 'display', transport: 'sdk binary_v1', path: 'gateway' },
  ]
  for (const row of rows) {
    await t.test(`${row.off ?? 'nothing'} is off, ${row.transport}, ${row.path}`, async t => {
      await tryRow(t, row, { target, home, effects })
    })
  }
})
