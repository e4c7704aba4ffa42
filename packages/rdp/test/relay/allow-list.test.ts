import { readFileSync } from 'node:fs'
import t from 'tap'
import { allowedChannel, DYNAMIC_CHANNEL_ALLOW_LIST, STATIC_CHANNEL_ALLOW_LIST } from '../../src/relay/allow-list.ts'

const PAGE = readFileSync(new URL('../../../../docs/protocols/channels.md', import.meta.url), 'utf8')

/** Rows of the page's table whose verdict is not "refused", as `kind name by needs`. */
function passing(): string[] {
  return PAGE.split('\n').flatMap(line => {
    const [, kind, name, verdict] = line.split('|').map(cell => cell.trim())
    const by = verdict?.match(/^(passes|ended in the worker) with /)?.[1]
    if (by === undefined || kind === undefined) return []
    const needs = [...(verdict ?? '').matchAll(/`(\w+)`/g)].map(match => match[1])
    return [`${kind} ${name?.replaceAll('`', '')} ${by === 'passes' ? 'client' : 'relay'} ${needs.join(',')}`]
  })
}

t.test('the allow-list is what docs/protocols/channels.md says', async t => {
  const allowed = [
    ...STATIC_CHANNEL_ALLOW_LIST.map(({ name, by, needs }) => `static ${name} ${by} ${needs.join(',')}`),
    ...DYNAMIC_CHANNEL_ALLOW_LIST.map(({ name, needs }) => `dynamic ${name} client ${needs.join(',')}`),
  ]
  t.same(passing().toSorted(), allowed.toSorted())
})

t.test('a channel is allowed by its exact name and only with a channel of the policy that it needs', async t => {
  const display = new Set(['display'] as const)
  const found = (name: string, channels: Parameters<typeof allowedChannel>[2]) =>
    allowedChannel(STATIC_CHANNEL_ALLOW_LIST, name, channels)?.name
  t.equal(found('drdynvc', display), 'drdynvc')
  t.equal(found('DRDYNVC', display), undefined)
  t.equal(found('drdynvc', new Set(['input'] as const)), undefined)
  t.equal(found('cliprdr', display), undefined)
  t.equal(found('cliprdr', new Set(['clipboard_server_to_client'] as const)), 'cliprdr', 'one direction is enough')
  t.equal(found('rdpdr', new Set(['clipboard_server_to_client', 'input', 'display', 'events'] as const)), undefined)
  t.equal(allowedChannel(DYNAMIC_CHANNEL_ALLOW_LIST, 'constructor', display), undefined)
})
