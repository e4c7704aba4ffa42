import { keyLookupOf, keyLookupOfPem, publicJwkOf, verifyToken } from '@rap/token-claims'
import { generateKeyPair } from 'jose'
import t from 'tap'
import { sweep } from '../../src/sessions/reaper.ts'
import { RETIRING_SECONDS } from '../../src/trust/key-times.ts'
import { SigningKeys } from '../../src/trust/signing-keys.ts'
import { type Instance, newJkt, newWrapping, type Stand, startStand } from '../helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const platformOwner = await stand.user({ platformRole: 'owner' })
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId)
const worker = (await instance.worker()).start()

async function jwks(on = instance, headers: Record<string, string> = {}) {
  const answer = await on.call(undefined, 'GET', '/.well-known/jwks.json', { headers })
  return { ...answer, kids: (answer.body?.keys ?? []).map((key: { kid: string }) => key.kid) as string[] }
}

/** As if the next key had been published, or the active one had signed, for so long. */
async function age(state: 'next' | 'active' | 'retiring', seconds: number, on: Stand = stand): Promise<void> {
  const column = { next: 'created_at', active: 'activated_at', retiring: 'retiring_at' }[state]
  await on.sql.begin(async tx => {
    await tx`alter table rap.signing_keys disable trigger signing_keys_keep_columns`
    await tx`
      update rap.signing_keys set ${tx(column)} = now() - make_interval(secs => ${seconds}) where state = ${state}`
    await tx`alter table rap.signing_keys enable trigger signing_keys_keep_columns`
  })
}

const rotate = (body?: { force: boolean }, user = platformOwner, on = instance) =>
  on.call(user, 'POST', '/v1/signing-keys/rotate', body === undefined ? {} : { body })
const revoke = (kid: string, user = platformOwner) => instance.call(user, 'POST', `/v1/signing-keys/${kid}/revoke`)

async function duly() {
  await age('next', 61)
  await age('retiring', RETIRING_SECONDS + 1)
  return await rotate()
}

async function begin(on = instance) {
  const { body } = await on.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  const { token } = body.data_plane
  return { token, kid: JSON.parse(Buffer.from(token.split('.')[0], 'base64url').toString()).kid as string }
}

async function countByState(on: Stand = stand): Promise<Record<string, number>> {
  const rows = await on.sql`select state, count(*)::int as count from rap.signing_keys group by state`
  return Object.fromEntries(rows.map(row => [row.state, row.count]))
}

async function events(name: string, on: Stand = stand) {
  return (await on.audit(null)).filter(({ event }) => event === name)
}

t.test('two keys are there after the first start, however many instances start at once', async t => {
  const fresh = await stand.freshDatabase()
  await Promise.all([1, 2, 3].map(() => fresh.build()))
  t.same(await countByState(fresh), { active: 1, next: 1 })
  t.equal((await events('signing_key_made', fresh)).length, 2)
})

t.test('the key set holds public halves of at least 2048 bits, and may be kept for half a minute', async t => {
  const { status, body, headers } = await jwks()
  t.equal(status, 200)
  t.equal(body.keys.length, 2)
  for (const key of body.keys) {
    t.same(Object.keys(key).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'])
    t.ok(Buffer.from(key.n, 'base64url').length >= 256)
    t.match(key, { kty: 'RSA', alg: 'RS256', use: 'sig' })
  }
  t.equal(headers['cache-control'], 'public, max-age=30')
})

t.test('whoever has the key set is told so, until a key changes', async t => {
  const { headers } = await jwks()
  const etag = String(headers.etag)
  t.match(etag, /^"[A-Za-z0-9_-]{43}"$/, 'a strong tag')
  for (const condition of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
    const { status, text, headers: again } = await jwks(instance, { 'if-none-match': condition })
    t.match({ status, text, etag: again.etag, cache: again['cache-control'] }, { status: 304, text: '', etag })
    t.equal(again['cache-control'], 'public, max-age=30')
    t.equal(again['content-length'], undefined, 'clients take a length for that of a body')
  }
  await duly()
  t.equal((await jwks(instance, { 'if-none-match': etag })).status, 200)
  t.equal((await jwks(instance, { 'if-none-match': 'x'.repeat(4000) })).status, 200)
})

t.test('a rotation signs with the key that was published before, and old tokens stay good', async t => {
  const before = await jwks()
  const started = await begin()
  const { body } = await duly()
  t.ok(before.kids.includes(body.active_kid), 'it was published before it signs')
  t.ok((await jwks()).kids.includes(started.kid), 'the old one is published still')
  t.equal((await worker.bind(started.token)).status, 200)
  const next = await begin()
  t.equal(next.kid, body.active_kid)
  t.equal((await worker.bind(next.token)).status, 200)
  const [event] = (await events('signing_keys_rotated')).slice(-1)
  t.match(event, { actor_id: platformOwner.id, details: { kid: body.active_kid, next_kid: body.next_kid } })
})

t.test('a next key signs only after every verifier had the time to see it, unless it is forced', async t => {
  await duly()
  const refused = await rotate()
  t.match(refused, { status: 409, body: { code: 'ERR_SIGNING_KEY_NEXT_TOO_YOUNG' } })
  t.ok(refused.body.retry_after_seconds > 50 && refused.body.retry_after_seconds <= 60)
  t.match((await events('signing_key_change_refused')).at(-1), { code: 'ERR_SIGNING_KEY_NEXT_TOO_YOUNG' })
  await age('next', 40)
  t.equal((await rotate()).status, 409)
  const forced = await rotate({ force: true })
  t.equal(forced.status, 200)
  t.match((await events('signing_keys_rotated')).at(-1), { details: { forced: true } })
  t.equal((await worker.bind((await begin()).token)).status, 200)
})

t.test('another instance signs with the new key at once', async t => {
  const second = await stand.build()
  const { body } = await duly()
  t.equal((await second.controlPlane.context.signing.active()).kid, body.active_kid)
})

t.test('of parallel rotations one counts, and one key signs and one waits', async t => {
  await age('retiring', RETIRING_SECONDS + 1)
  await age('next', 61)
  const second = await stand.build()
  const before = (await events('signing_keys_rotated')).length
  const answers = await Promise.all([rotate(), rotate({ force: false }, platformOwner, second), rotate()])
  t.same(answers.map(({ status }) => status).sort(), [200, 409, 409])
  t.match(await countByState(), { active: 1, next: 1 })
  t.equal((await events('signing_keys_rotated')).length, before + 1)
})

t.test('the key set never grows beyond what verifiers take, however often a rotation is forced', async t => {
  await age('retiring', RETIRING_SECONDS + 1)
  const statuses: number[] = []
  for (let number = 0; number < 16; number++) statuses.push((await rotate({ force: true })).status)
  t.equal(statuses.filter(status => status === 200).length, 14)
  t.match((await rotate({ force: true })).body, { code: 'ERR_SIGNING_KEY_RETIRING_LIMIT', retry_after_seconds: Number })
  const { body } = await jwks()
  t.equal(body.keys.length, 16)
  t.equal((await keyLookupOf(body)).kids.length, 16)
  await age('retiring', RETIRING_SECONDS + 1)
  t.equal((await rotate({ force: true })).status, 200)
})

t.test(
  'a key retires when its last token has ended, and not before: then it verifies nothing and has no private half',
  async t => {
    const { signing } = instance.controlPlane.context
    const started = await begin()
    await duly()
    t.equal(RETIRING_SECONDS, 130, 'a lease token of 120 seconds, the tolerance of 5, and a commit')
    await age('retiring', RETIRING_SECONDS - 30)
    await signing.retire()
    t.ok((await jwks()).kids.includes(started.kid), 'not yet')
    t.ok(await signing.lookup(started.kid))
    await age('retiring', RETIRING_SECONDS)
    t.notOk((await jwks()).kids.includes(started.kid), 'whether a sweep comes or not')
    t.equal(await signing.lookup(started.kid), undefined)
    t.match(await worker.bind(started.token), { status: 403, body: { code: 'ERR_BIND_TOKEN_INVALID' } })
    await signing.retire()
    const [row] = await stand.sql`select state, wrapped_private_key from rap.signing_keys where kid = ${started.kid}`
    t.match(row, { state: 'retired', wrapped_private_key: null })
    t.ok((await events('signing_key_retired')).some(event => (event.details as { kid: string }).kid === started.kid))
    t.match(await revoke(started.kid), { status: 409, body: { code: 'ERR_SIGNING_KEY_ENDED' } })
  },
)

t.test('a stolen active key is out of use at once on every instance, and the next one signs', async t => {
  await duly()
  const second = await stand.build()
  const started = await begin()
  const other = await begin()
  t.equal((await worker.bind(other.token, {}, second)).status, 200, 'it is good until then')
  const before = await instance.call(platformOwner, 'GET', '/v1/signing-keys')
  const next = before.body.keys.find((key: { state: string }) => key.state === 'next')
  const { status, body } = await revoke(started.kid)
  t.equal(status, 200)
  t.match(body, { revoked_kid: started.kid, active_kid: next.kid })
  t.not(body.next_kid, next.kid)
  for (const on of [instance, second]) {
    t.match(await worker.bind(started.token, {}, on), { status: 403, body: { code: 'ERR_BIND_TOKEN_INVALID' } })
    t.notOk((await jwks(on)).kids.includes(started.kid))
    const fresh = await begin(on)
    t.equal(fresh.kid, next.kid)
    t.equal((await worker.bind(fresh.token, {}, on)).status, 200)
  }
  const [row] = await stand.sql`select wrapped_private_key from rap.signing_keys where kid = ${started.kid}`
  t.equal(row?.wrapped_private_key, null)
  t.match((await events('signing_key_revoked')).at(-1), {
    actor_id: platformOwner.id,
    details: { kid: started.kid, previous_state: 'active' },
  })
  const count = (await events('signing_key_revoked')).length
  t.equal((await revoke(started.kid)).status, 200, 'again changes nothing')
  t.equal((await events('signing_key_revoked')).length, count)
})

t.test('a waiting and a retiring key can be revoked as well, and one key waits again', async t => {
  const { token, kid } = await begin()
  await duly()
  const { body } = await revoke(kid)
  t.match(await worker.bind(token), { status: 403, body: { code: 'ERR_BIND_TOKEN_INVALID' } })
  const again = await revoke(body.next_kid)
  t.equal(again.body.active_kid, body.active_kid)
  t.not(again.body.next_kid, body.next_kid)
  t.notOk((await jwks()).kids.includes(body.next_kid))
})

t.test('a revocation needs no place of keys: what is missing is made when it answers again', async t => {
  const fresh = await stand.freshDatabase()
  const keys = { ...newWrapping() }
  const { wrap, unwrap } = keys
  const alone = await fresh.build({}, { keys })
  const owner = await fresh.user({ platformRole: 'owner' })
  const { active } = await alone.controlPlane.context.signing.kids()
  const away = async () => {
    throw new (await import('@rap/key-provider')).KeyProviderError('ERR_KEY_UNAVAILABLE', 'sealed')
  }
  Object.assign(keys, { wrap: away, unwrap: away })
  t.match(await rotate({ force: true }, owner, alone), {
    status: 503,
    body: { code: 'ERR_SIGNING_KEY_PROVIDER_UNAVAILABLE' },
  })
  const { status, body } = await alone.call(owner, 'POST', `/v1/signing-keys/${active}/revoke`)
  t.equal(status, 200)
  t.equal(body.next_kid, null)
  t.same(await countByState(fresh), { active: 1, revoked: 1 })
  Object.assign(keys, { wrap, unwrap })
  await sweep(alone.controlPlane.context)
  t.same(await countByState(fresh), { active: 1, next: 1, revoked: 1 })
})

t.test('the schedule rotates once when it is due, whichever instance comes first and however late', async t => {
  const fresh = await stand.freshDatabase()
  const env = { DATA_PLANE_SIGNING_KEY_ROTATION_HOURS: '24' }
  const [one, two] = await Promise.all([fresh.build(env), fresh.build(env)])
  const contexts = [one, two].map(each => each.controlPlane.context)
  const all = async () => {
    for (const context of contexts) await sweep(context)
  }
  await age('active', 24 * 3600 - 60, fresh)
  await age('next', 3600, fresh)
  await all()
  t.equal((await events('signing_keys_rotated', fresh)).length, 0, 'not yet')
  // Nobody ran for a month.
  await age('active', 31 * 24 * 3600, fresh)
  await Promise.all(contexts.map(context => sweep(context)))
  await all()
  const [rotated, ...more] = await events('signing_keys_rotated', fresh)
  t.same(more, [], 'once, for all that was missed')
  t.match(rotated, { actor_kind: 'service', actor_id: 'control-plane' })
  await age('active', 31 * 24 * 3600, fresh)
  await all()
  t.equal((await events('signing_keys_rotated', fresh)).length, 1, 'a next key that is too young is waited for')
})

t.test('a schedule of 0 hours never rotates by itself', async t => {
  const fresh = await stand.freshDatabase()
  const { context } = (await fresh.build({ DATA_PLANE_SIGNING_KEY_ROTATION_HOURS: '0' })).controlPlane
  await age('active', 10 * 365 * 24 * 3600, fresh)
  await age('next', 3600, fresh)
  await sweep(context)
  t.equal((await events('signing_keys_rotated', fresh)).length, 0)
})

t.test(
  'an owner of the platform sees every key with its times, and its public half for workers without a key set',
  async t => {
    await duly()
    const { status, body } = await instance.call(platformOwner, 'GET', '/v1/signing-keys')
    t.equal(status, 200)
    const find = (state: string) => body.keys.find((key: { state: string }) => key.state === state)
    const [active, next, revoked] = [find('active'), find('next'), find('revoked')]
    t.same((await keyLookupOfPem(`${active.public_key}${next.public_key}`)).kids, [active.kid, next.kid])
    t.match(revoked, { public_key: null, revoked_at: String })
    t.equal(Date.parse(next.signs_next_at) - Date.parse(next.created_at), 60_000)
    t.equal(Date.parse(body.next_rotation_at) - Date.parse(active.activated_at), 720 * 3_600_000)
    t.notOk(JSON.stringify(body).includes('wrapped'))
  },
)

t.test('nobody but an owner of the platform sees or changes keys, and who tries to is in the audit', async t => {
  const { active } = await instance.controlPlane.context.signing.kids()
  const calls: [string, string][] = [
    ['GET', '/v1/signing-keys'],
    ['POST', '/v1/signing-keys/rotate'],
    ['POST', `/v1/signing-keys/${active}/revoke`],
  ]
  const owner = await stand.user({ organizationId, role: 'owner' })
  for (const [method, url] of calls) {
    t.equal((await instance.call(undefined, method, url)).status, 401, url)
    t.match(await instance.call(owner, method, url), { status: 403, body: { code: 'ERR_FORBIDDEN' } }, url)
  }
  const refused = (await events('signing_key_change_refused')).filter(({ actor_id }) => actor_id === owner.id)
  t.same(
    refused.map(({ details }) => (details as { action: string }).action),
    ['rotate', 'revoke'],
  )
  t.equal((await revoke('A'.repeat(43))).status, 404)
  t.equal((await revoke('x')).status, 400)
  t.equal((await instance.controlPlane.context.signing.kids()).active, active)
})

t.test('a worker learns from the answer to its announcement which key signs and which will', async t => {
  const { body } = await worker.announce()
  const { active, next } = await instance.controlPlane.context.signing.kids()
  t.match(body, { active_kid: active, next_kid: next })
})

t.test('a private key is in the database only wrapped, and bound to its row', async t => {
  const rows = await stand.sql`select kid, wrapped_private_key from rap.signing_keys where state in ('active', 'next')`
  const [active, next] = rows
  for (const row of rows) {
    const wrapped = Buffer.from(row.wrapped_private_key.wrapped, 'base64')
    t.notOk(wrapped.includes(Buffer.from('2a864886f70d010101', 'hex')), 'no PKCS#8 of an RSA key')
  }
  await t.rejects(new SigningKeys(stand.sql, newWrapping()).active(), 'another wrapping key')
  const swapped = await stand.freshDatabase()
  const keys = new SigningKeys(swapped.sql, stand.keys)
  await keys.ensure()
  await swapped.sql`
    update rap.signing_keys set wrapped_private_key = ${swapped.sql.json((next ?? active)!.wrapped_private_key)} where state = 'active'`
  await t.rejects(new SigningKeys(swapped.sql, stand.keys).active(), 'the wrapped key of another row')
})

t.test('a key that is not in the set verifies nothing', async t => {
  const { publicKey } = await generateKeyPair('RS256', { extractable: true })
  const foreign = await keyLookupOf({ keys: [await publicJwkOf(publicKey)] })
  const { token } = await begin()
  await t.rejects(verify(instance, token, foreign), { code: 'ERR_TOKEN_UNKNOWN_KEY' })
})

async function verify(on: Instance, token: string, keys: Parameters<typeof verifyToken>[2]['keys']) {
  const { DATA_PLANE_ISSUER: issuer } = on.controlPlane.context.config
  return await verifyToken('data_plane', token, { keys, issuer, nowSeconds: Math.floor(Date.now() / 1000) })
}
