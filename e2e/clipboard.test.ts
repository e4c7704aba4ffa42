import { canStartXrdp, type RdpClient, startPlatform, startRdpClient, startXrdp, targetOf, waitFor } from '@rap/testkit'
import t, { type Test } from 'tap'
import { startBridge } from './bridge.ts'
import { XClipboard } from './x-clipboard.ts'

const able = canStartXrdp()
if (!able.ok) {
  t.plan(0, able.reason)
  process.exit(0)
}

const TO_DESKTOP = 'clipboard_client_to_server'
const FROM_DESKTOP = 'clipboard_server_to_client'
const MIB = 2 ** 20
/** Nearly 2 MiB in UTF-16. Of more than 1 MiB in UTF-8, xclip makes parts that FreeRDP does not take. */
const TOO_LONG = 'x'.repeat(1_000_000)

const document = (...clipboard: readonly string[]) => ({
  channels: ['display', 'input', ...clipboard],
  limits: { clipboard_bytes: MIB },
})
const xrdp = await startXrdp()
t.teardown(() => xrdp.stop())
const { username, password } = xrdp
const platform = await startPlatform({
  policy: document(TO_DESKTOP, FROM_DESKTOP),
  targets: [targetOf(xrdp, { name: 'xrdp', credential: { username, password }, security: 'auto' })],
})
t.teardown(() => platform.stop())
const bridge = await startBridge(platform, platform.resources[0]?.id ?? '')
t.teardown(() => bridge.close())
const desktop = new XClipboard(xrdp.env)
t.teardown(() => desktop.close())

/** FreeRDP's client on a session of its own, and the clipboard where it runs. */
async function connect(t: Test): Promise<{ readonly client: RdpClient; readonly own: XClipboard }> {
  const args = ['/sec:tls', '+clipboard']
  const client = await startRdpClient({ host: '127.0.0.1', port: bridge.port, username: 'a', password: 'b', args })
  t.teardown(() => client.stop())
  const own = new XClipboard(client.env)
  t.teardown(() => own.close())
  return { client, own }
}

async function arrives(at: XClipboard, words: string, what: string): Promise<void> {
  // xrdp 0.9 hands out a long text with its terminator.
  const isThere = async () => (await at.paste()).replace(/\0$/, '') === words
  await waitFor(isThere, { what, timeoutMs: 15_000, intervalMs: 200 })
}

/** What `at` pastes is nothing in the end, and was never the secret. */
async function isGone(t: Test, at: XClipboard, secret: string): Promise<void> {
  let leaked = false
  await waitFor(
    async () => {
      const words = await at.paste()
      leaked ||= words.includes(secret)
      return words === ''
    },
    { what: `nothing but ${secret.slice(0, 10)}`, timeoutMs: 15_000, intervalMs: 200 },
  )
  t.notOk(leaked, `${secret.slice(0, 10)} was never there`)
}

async function changePolicy(...clipboard: readonly string[]): Promise<void> {
  const path = `/v1/organizations/${platform.organizationId}/policy`
  await platform.api.call('PUT', path, { body: { document: document(...clipboard) } })
}

async function auditedCodes(): Promise<readonly string[]> {
  const query = new URLSearchParams({
    organization_id: platform.organizationId,
    session_id: bridge.sessions.at(-1) ?? '',
    event: 'channel_data_withheld',
    limit: '50',
  })
  type Events = { items: { code: string; details: { direction: string } }[] }
  const { items } = await platform.api.call<Events>('GET', `/v1/audit-events?${query}`)
  return items.map(({ code, details }) => `${details.direction} ${code}`).sort()
}

async function audited(...codes: readonly string[]): Promise<void> {
  await waitFor(
    async () => {
      const found = await auditedCodes()
      return codes.every(code => found.includes(code))
    },
    { what: codes.join(', '), timeoutMs: 15_000, intervalMs: 200 },
  )
}

t.test('a native client and xrdp copy and paste, as far as the policy goes', async t => {
  const { own } = await connect(t)
  await waitFor(() => xrdp.isShellReady(), { what: 'the session', timeoutMs: 30_000 })

  await t.test('text goes both ways, letters beyond ASCII included', async t => {
    await own.copy('Grüße an das Ziel: 漢字 €')
    await arrives(desktop, 'Grüße an das Ziel: 漢字 €', 'the text on the desktop')
    await desktop.copy('Grüße zurück: Ελληνικά ∞')
    await arrives(own, 'Grüße zurück: Ελληνικά ∞', 'the text at the client')
    t.pass()
  })

  await t.test('a text of hundreds of chunks arrives as it was', async t => {
    const words = Array.from({ length: 20_000 }, (_, line) => `line ${line} `).join('')
    await own.copy(words)
    await arrives(desktop, words, 'the long text on the desktop')
    await desktop.copy(`${words}back`)
    await arrives(own, `${words}back`, 'the long text at the client')
    t.pass()
  })

  await t.test('a text beyond the limit does not arrive, nobody is left waiting, and the next one does', async t => {
    await own.copy(TOO_LONG)
    await isGone(t, desktop, TOO_LONG)
    await desktop.copy(TOO_LONG)
    await isGone(t, own, TOO_LONG)
    await audited(`client_to_server ERR_CLIPBOARD_TOO_LARGE`, `server_to_client ERR_CLIPBOARD_TOO_LARGE`)
    await own.copy('short')
    await arrives(desktop, 'short', 'the next text')
  })

  await t.test('HTML and pictures stay where they are', async t => {
    await own.copy('<b>from the client</b>', 'text/html')
    await isGone(t, desktop, 'from the client')
    t.notOk((await desktop.formats()).includes('text/html'), 'nor offered')
    await desktop.copy('still there')
    await arrives(own, 'still there', 'the text at the client')
    await desktop.copy(Buffer.from(`BM${'picture'.repeat(100)}`), 'image/bmp')
    await isGone(t, own, 'picture')
    t.equal(await own.paste('image/bmp'), '', 'nor as a picture')
    await audited('client_to_server ERR_CLIPBOARD_FORMAT', 'server_to_client ERR_CLIPBOARD_FORMAT')
  })

  await t.test('a direction that is taken away ends under the open session, and then the other one', async t => {
    const inForce = (...channels: readonly string[]) => {
      const line = `"channels":${JSON.stringify(['display', 'input', ...channels])}`
      return waitFor(() => platform.workers[0]?.log().includes(line), { what: line })
    }
    await desktop.copy('before')
    await arrives(own, 'before', 'the text at the client')
    await changePolicy(TO_DESKTOP)
    await inForce(TO_DESKTOP)
    await desktop.copy('secret of the desktop')
    await isGone(t, own, 'secret of the desktop')
    await own.copy('still allowed')
    await arrives(desktop, 'still allowed', 'the other direction')

    await changePolicy()
    await inForce()
    await own.copy('secret of the client')
    await isGone(t, desktop, 'secret of the client')
    await audited('client_to_server ERR_CLIPBOARD_DIRECTION', 'server_to_client ERR_CLIPBOARD_DIRECTION')
  })
  t.same(bridge.endings, [], 'the session stayed open through all of it')
})

t.test('a session that begins with one direction has that one', async t => {
  await changePolicy(FROM_DESKTOP)
  const { own } = await connect(t)
  // What was copied before the clipboard of the session is there is not offered afterwards.
  const isOut = async () => {
    if ((await own.paste()) === 'out') return true
    await desktop.copy('out')
    return false
  }
  await waitFor(isOut, { what: 'the text at the client', timeoutMs: 30_000, intervalMs: 500 })
  await own.copy('in')
  await audited('client_to_server ERR_CLIPBOARD_DIRECTION')
  t.equal(await desktop.paste(), 'out', 'the desktop keeps its own')
})
