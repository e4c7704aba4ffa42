import { join } from 'node:path'
import { encodeDynvcPdu } from '@rap/rdp/codecs'
import { connected, launchBrowser, openDesktop, typeLine, waitFor } from '@rap/testkit'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { CHANNELS, type Channel, POLICIES, type PolicyRow } from './denial/policies.ts'
import type { TargetSession } from './denial/target-session.ts'
import { World } from './denial/world.ts'

const world = await World.start({ portalDir: join(import.meta.dirname, '../packages/web-client/dist') })
t.teardown(() => world.stop())
await world.policies.organization(CHANNELS)
const rows: { readonly policy: PolicyRow; readonly name: string }[] = []
const inBrowser = ['everything', 'view only', 'no clipboard', 'no uploads', 'no picture']
for (const policy of POLICIES.filter(({ name }) => inBrowser.includes(name)))
  rows.push({ policy, name: await world.newResource(policy).then(nameOf) })

async function nameOf(id: string): Promise<string> {
  return (await world.platform.api.call<{ name: string }>('GET', `/v1/resources/${id}`)).name
}

/** Static channels that a target is asked for under a policy. */
function channelsDue(channels: readonly Channel[]): string[] {
  const has = (...any: readonly Channel[]): boolean => any.some(channel => channels.includes(channel))
  return [
    ...(has('clipboard_client_to_server', 'clipboard_server_to_client') ? ['cliprdr'] : []),
    ...(has('display') ? ['drdynvc'] : []),
    ...(has('file_upload') ? ['rdpdr', 'rdpsnd'] : []),
  ]
}

/** What a target begins its channels with: Clipboard Capabilities and Monitor Ready, and the capabilities of drdynvc. */
const BEGINNINGS: Readonly<Record<string, readonly Uint8Array[]>> = {
  cliprdr: [
    Buffer.from('07000000100000000100000001000c000200000002000000', 'hex'),
    Buffer.from('0100000000000000', 'hex'),
  ],
  drdynvc: [encodeDynvcPdu({ type: 'capabilities', version: 1, priorityCharges: [] })],
}

/** What the browser's desktop looks like from the target's side. */
async function tryPolicy(t: Test, page: Page, target: TargetSession, channels: readonly Channel[]): Promise<void> {
  t.same([...target.channels.keys()].sort(), channelsDue(channels), 'channels that the target was asked for')
  // The target speaks as a user of its own, as Windows does, and the browser's client answers in the name of whom it heard.
  for (const [channel, messages] of Object.entries(BEGINNINGS)) {
    if (!target.channels.has(channel)) continue
    for (const message of messages) target.sendChannel(channel, message)
    await waitFor(() => target.messages.some(answer => answer.channel === channel), { what: `an answer on ${channel}` })
  }
  const hasInput = channels.includes('input')
  const before = target.input.length
  await typeLine(page, 'key')
  if (hasInput) await waitFor(() => target.input.length > before, { what: 'the keys at the target' })
  await page.getByRole('button', { name: 'Disconnect', exact: true }).click()
  // The end of the connection comes behind the keys.
  await waitFor(() => target.isClosed, { what: 'the end of the connection' })
  t.equal(target.input.length > before, hasInput, 'keys at the target')
}

for (const path of ['direct', 'gateway'] as const) {
  t.test(`every policy in the browser, ${path}`, async t => {
    const { authority, apiUrl, admin, workers } = world.platform
    const port = new URL(workers[0]?.url ?? '').port
    const browser = await launchBrowser({
      trustedCaPem: authority.certificatePem,
      args: path === 'gateway' ? [`--host-resolver-rules=MAP localhost:${port} ~NOTFOUND`] : [],
    })
    t.teardown(() => browser.stop())
    const page = await browser.context.newPage()
    // The fallback is one for all of them.
    for (const [index, { policy, name }] of rows.slice(0, path === 'direct' ? rows.length : 2).entries()) {
      await t.test(policy.name, async t => {
        const seen = world.target.sessions.length
        if (index === 0) await openDesktop(page, { portalUrl: apiUrl, login: admin, name })
        else {
          await page.goto(apiUrl)
          await page
            .getByRole('article', { name, exact: true })
            .getByRole('button', { name: /Connect|Resume/ })
            .click()
        }
        t.equal(await connected(page), path)
        const target = await waitFor(() => world.target.sessions.slice(seen).find(({ isActive }) => isActive), {
          what: 'the connection at the target',
        })
        await tryPolicy(t, page, target, policy.channels)
      })
    }
  })
}
