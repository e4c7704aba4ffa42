import { readFileSync } from 'node:fs'
import t from 'tap'
import { DYNAMIC_CHANNEL_ALLOW_LIST, isAllowed, STATIC_CHANNEL_ALLOW_LIST } from '../../src/relay/allow-list.ts'

const PAGE = readFileSync(new URL('../../../../docs/protocols/channels.md', import.meta.url), 'utf8')

/** Rows of the page's table whose verdict is "passes", as `kind name needs`. */
function passing(): string[] {
  return PAGE.split('\n').flatMap(line => {
    const [, kind, name, verdict] = line.split('|').map(cell => cell.trim())
    const needs = verdict?.match(/^passes with `(\w+)`/)?.[1]
    return needs === undefined ? [] : [`${kind} ${name?.replaceAll('`', '')} ${needs}`]
  })
}

t.test('the allow-list is what docs/protocols/channels.md says', async t => {
  const allowed = [
    ...STATIC_CHANNEL_ALLOW_LIST.map(({ name, needs }) => `static ${name} ${needs}`),
    ...DYNAMIC_CHANNEL_ALLOW_LIST.map(({ name, needs }) => `dynamic ${name} ${needs}`),
  ]
  t.same(passing().toSorted(), allowed.toSorted())
})

t.test('a channel is allowed by its exact name and only with the channel of the policy that it needs', async t => {
  const display = new Set(['display'] as const)
  t.ok(isAllowed(STATIC_CHANNEL_ALLOW_LIST, 'drdynvc', display))
  t.notOk(isAllowed(STATIC_CHANNEL_ALLOW_LIST, 'DRDYNVC', display))
  t.notOk(isAllowed(STATIC_CHANNEL_ALLOW_LIST, 'drdynvc', new Set(['input'] as const)))
  t.notOk(isAllowed(STATIC_CHANNEL_ALLOW_LIST, 'cliprdr', new Set(['display', 'clipboard_client_to_server'] as const)))
  t.notOk(isAllowed(DYNAMIC_CHANNEL_ALLOW_LIST, 'constructor', display))
})
