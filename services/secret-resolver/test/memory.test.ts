import { randomBytes } from 'node:crypto'
import t from 'tap'
import { call } from './support/https.ts'
import { countInMemory } from './support/memory.ts'
import { RDP_PAYLOAD } from './support/seal.ts'
import { readyFields, serviceEnv, startService } from './support/service.ts'
import { leaseToken, putSecret, type Resolver, resolve, seedPlace, startWorld, writeLease } from './support/world.ts'

const options = process.platform === 'linux' ? {} : { skip: 'reads /proc' }

/** A copy in freed memory is soon overwritten, so one look is not enough. */
const ROUNDS = 8

t.test('after a write, a refusal and a resolve no password is left in the memory of the process', options, async t => {
  const world = await startWorld(t)
  const service = await startService(t, await serviceEnv(t, world))
  const { internal_url: origin, pid } = await readyFields(service)
  const resolver: Resolver = { origin, call: (tls, options) => call(origin, tls, options), close: async () => {} }
  for (let round = 0; round < ROUNDS; round++) {
    const place = await seedPlace(world)
    // Characters that need no escape, so that it would be readable in any copy of the payload.
    const password = `canary-${randomBytes(12).toString('hex')}`
    t.equal((await putSecret(world, resolver, place, { payload: { ...RDP_PAYLOAD, password } })).status, 200)
    const refused = { ...RDP_PAYLOAD, password, note: password }
    t.equal((await putSecret(world, resolver, place, { payload: refused })).status, 422)
    await writeLease(world, place)
    const answer = await resolve(resolver, world.worker, await leaseToken(world, place))
    t.match((await answer.open()).payload, password)
    const [passwords, references] = countInMemory(pid, [Buffer.from(password), Buffer.from(place.resource_id)])
    t.ok(references! > 0, 'the search finds what is there')
    t.equal(passwords, 0)
    t.notOk(service.log().includes(password))
  }
})
