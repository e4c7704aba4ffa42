import { randomUUID } from 'node:crypto'
import t from 'tap'
import { ROLES } from '../src/organizations/permissions.ts'
import { startStand } from './helper.ts'

/** The resolver is not there: whoever may ask is told so, and whoever may not does not get that far. */
const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const members = await Promise.all(ROLES.map(role => stand.user({ organizationId, role })))
const nobody = await stand.user()
const platformOwner = await stand.user({ platformRole: 'owner' })

const LOOKS = ['/v1/master-keys', '/v1/rewraps/plan', '/v1/rewraps', `/v1/rewraps/${randomUUID()}`]
const CHANGES = [
  { url: '/v1/master-keys/rotate', body: { source: 'next' }, action: 'rotate' },
  { url: '/v1/master-keys/vault-1:3/retire', body: undefined, action: 'retire' },
  { url: '/v1/rewraps', body: undefined, action: 'rewrap' },
]

t.test('master keys are for owners of the platform, whatever somebody is in an organization', async t => {
  for (const url of LOOKS) {
    for (const user of [...members, nobody]) t.equal((await instance.call(user, 'GET', url)).status, 403, url)
    t.equal((await instance.call(undefined, 'GET', url)).status, 401, url)
    t.equal((await instance.call(platformOwner, 'GET', url)).body.code, 'ERR_SECRET_RESOLVER_UNAVAILABLE', url)
  }
  for (const { url, body } of CHANGES) {
    for (const user of [...members, nobody]) t.equal((await instance.call(user, 'POST', url, { body })).status, 403)
    t.equal((await instance.call(undefined, 'POST', url, { body })).status, 401, url)
    const asked = await instance.call(platformOwner, 'POST', url, { body })
    t.equal(asked.body.code, 'ERR_SECRET_RESOLVER_UNAVAILABLE', url)
  }
})

t.test('a change that is refused here is in the audit of the platform, a look is not', async t => {
  const before = (await stand.audit(null)).length
  for (const { url, body } of CHANGES) await instance.call(nobody, 'POST', url, { body })
  for (const url of LOOKS) await instance.call(nobody, 'GET', url)
  const events = (await stand.audit(null)).slice(before)
  t.equal(events.length, CHANGES.length)
  for (const [at, { action }] of CHANGES.entries()) {
    t.match(events[at], {
      event: 'secret_key_change_refused',
      outcome: 'refused',
      code: 'ERR_FORBIDDEN',
      user_id: nobody.id,
      details: { action },
    })
  }
})

t.test('a name that no key and no source can have is refused before anybody is asked', async t => {
  for (const source of ['', '../sealing-key', 'a/b', 'a b', 'x'.repeat(129), 1, null]) {
    const answer = await instance.call(platformOwner, 'POST', '/v1/master-keys/rotate', { body: { source } })
    t.equal(answer.body.code, 'ERR_VALIDATION', JSON.stringify(source))
  }
  for (const keyId of ['%2e%2e%2fsealing-key', 'a%2Fb', '%20', 'x'.repeat(129), 'a%3Fb']) {
    const answer = await instance.call(platformOwner, 'POST', `/v1/master-keys/${keyId}/retire`)
    t.equal(answer.status, 400, keyId)
  }
  t.equal((await instance.call(platformOwner, 'GET', '/v1/rewraps/1')).status, 400)
  for (const url of ['/v1/rewraps', '/v1/master-keys/next/retire']) {
    const answer = await instance.call(platformOwner, 'POST', url, { body: { actor_user_id: nobody.id } })
    t.equal(answer.body.code, 'ERR_VALIDATION', 'nobody says who else it was')
  }
})
