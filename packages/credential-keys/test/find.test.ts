import fc from 'fast-check'
import t from 'tap'
import {
  findCredentials,
  MAX_DEPTH,
  MAX_FINDINGS,
  MAX_NODES,
  MAX_TOTAL_CHARACTERS,
  withoutCredentials,
} from '../src/index.ts'
import { ALLOWED } from './table.ts'

const nested = (depth: number, inner: unknown): unknown => (depth === 0 ? inner : { a: nested(depth - 1, inner) })

t.test('a finding tells the place as a JSON pointer, the reason and the rule, and never the value', async t => {
  const given = {
    rack: 'A7',
    db: { passWord: 'canary-1', ports: [1, { 'api/key~': 'canary-2' }] },
    notes: ['fine', 'postgres://u:canary-3@h/x'],
  }
  t.same(findCredentials(given), [
    { path: '/db/passWord', reason: 'name', rule: 'password' },
    { path: '/db/ports/1/api~1key~0', reason: 'name', rule: 'api_key' },
    { path: '/notes/1', reason: 'value', rule: 'url_credentials' },
  ])
  t.notMatch(JSON.stringify(findCredentials(given)), 'canary')
  t.same(withoutCredentials(given), { rack: 'A7', db: { ports: [1, {}] }, notes: ['fine'] })
})

t.test('a name that is a secret by itself is not repeated in the path', async t => {
  for (const name of ['postgres://u:canary@h', `ghp_canary${'a'.repeat(36)}`, 'password=canary']) {
    const [finding] = findCredentials({ [name]: { x: 1 } })
    t.ok(finding)
    t.notMatch(finding!.path, 'canary')
  }
  t.ok(findCredentials({ [`x${'y'.repeat(500)}`]: 1 })[0]!.path.length < 80)
})

t.test('a value under the name of a credential is refused whatever it is', async t => {
  for (const value of [null, true, 0, '', [], {}, { deep: [1] }]) {
    t.match(findCredentials({ password: value }), [{ path: '/password', rule: 'password' }])
  }
})

t.test('entries and pairs that name a credential in a value are refused', async t => {
  t.match(findCredentials({ env: [{ name: 'DB_PASSWORD', value: 'x' }] }), [{ path: '/env/0', rule: 'named_entry' }])
  t.match(findCredentials({ env: [['apiKey', 'x']] }), [{ path: '/env/0', rule: 'named_entry' }])
  t.match(findCredentials({ name: 'password', value: 'x' }), [{ path: '', rule: 'named_entry' }])
  t.match(findCredentials({ jwk: { kty: 'OKP', d: 'x' } }), [{ path: '/jwk', rule: 'private_jwk' }])
  t.same(findCredentials({ env: [{ name: 'rack', value: 'x' }, ['floor', 'x']], roles: ['user', 'token'] }), [])
})

t.test('beyond a bound nothing passes: it is a finding, and the copy leaves it out', async t => {
  t.same(findCredentials(nested(MAX_DEPTH - 1, { a: 1 })), [])
  const deep = nested(MAX_DEPTH, { password: 'x' }) as Record<string, unknown>
  t.match(findCredentials(deep), [{ reason: 'bound', rule: 'too_deep' }])
  t.notMatch(JSON.stringify(withoutCredentials(deep)), 'password')
  const many = { list: Array.from({ length: MAX_NODES + 10 }, () => 1), password: 'x' }
  t.match(findCredentials(many)[0], { reason: 'bound', rule: 'too_many_values' })
  const long = Object.fromEntries(
    Array.from({ length: 10 }, (_, index) => [`k${index}`, 'x '.repeat(MAX_TOTAL_CHARACTERS / 16)]),
  )
  t.match(findCredentials(long).at(-1), { reason: 'bound', rule: 'too_much_text' })
  t.same(findCredentials(withoutCredentials(long)), [])
  t.match(findCredentials({ ['x'.repeat(257)]: 1 }), [{ reason: 'bound', rule: 'name_too_long' }])
  t.match(findCredentials({ x: 'x '.repeat(10_000) }), [{ reason: 'bound', rule: 'value_too_long' }])
  const loop: Record<string, unknown> = {}
  loop.self = loop
  t.match(findCredentials(loop), [{ rule: 'too_deep' }])
})

t.test('the number of findings is bounded, the copy is clean all the same', async t => {
  const given = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`password_${index}`, 'x']))
  t.equal(findCredentials(given).length, MAX_FINDINGS)
  t.same(withoutCredentials(given), {})
})

t.test('what JSON cannot hold is refused', async t => {
  for (const value of [
    undefined,
    () => 1,
    1n,
    Symbol('x'),
    Number.NaN,
    new Map([['password', 'x']]),
    new Date(0),
    Buffer.from('x'),
  ]) {
    t.match(findCredentials({ value }), [{ path: '/value', rule: 'not_json' }])
  }
})

t.test('members named after Object.prototype are members', async t => {
  const given = JSON.parse('{"__proto__": {"password": "x", "rack": 1}, "constructor": 1, "toString": {"pwd": 1}}')
  t.same(
    findCredentials(given).map(finding => finding.path),
    ['/__proto__/password', '/toString/pwd'],
  )
  const copy = withoutCredentials(given)
  t.same(Object.keys(copy), ['__proto__', 'constructor', 'toString'])
  t.equal((copy as { rack?: number }).rack, undefined, 'nothing went into a prototype')
})

const json = fc.jsonValue({ maxDepth: 4 })

t.test(
  'wherever a credential is put, however deep in whatever it stands, it is found and gone from the copy',
  async t => {
    const way = fc.array(fc.oneof(fc.constantFrom('a', 'rack', 'site', 'os'), fc.nat({ max: 3 })), { maxLength: 8 })
    fc.assert(
      fc.property(way, fc.constantFrom('password', 'apiKey', 'CLIENT-SECRET', 'db_pwd2'), (steps, name) => {
        const given = steps.reduceRight<unknown>(
          (inner, step) => (typeof step === 'number' ? [...Array(step).fill(1), inner] : { [step]: inner }),
          { [name]: 'canary' },
        )
        const path = [...steps, name].map(step => `/${step}`).join('')
        const [finding] = findCredentials(given)
        return finding?.path === path && !JSON.stringify(withoutCredentials({ given })).includes('canary')
      }),
    )
    t.pass()
  },
)

t.test(
  'nothing is found in what was cleaned, cleaning twice changes nothing, and harmless metadata stays as it is',
  async t => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), json), given => {
        const copy = withoutCredentials(given)
        return findCredentials(copy).length === 0 && JSON.stringify(withoutCredentials(copy)) === JSON.stringify(copy)
      }),
    )
    const harmless = Object.fromEntries(ALLOWED.map((name, index) => [name, index]))
    t.same(withoutCredentials(harmless), harmless)
    t.not(withoutCredentials(harmless), harmless)
  },
)
