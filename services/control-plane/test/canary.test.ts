import { findSecret, monitorRedis, newCanary } from '@rap/testkit'
import t from 'tap'
import { newJkt, startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build({ APP_ENV: 'development' })
const organizationId = await stand.organization()
const admin = await stand.user({ organizationId, role: 'admin' })
const worker = (await instance.worker()).start()

t.test(
  "credentials in a development resource's metadata are in that row, and nowhere else after a session's life",
  async t => {
    const canary = newCanary()
    const redis = await monitorRedis(stand.redisServer.url)
    t.teardown(() => redis.stop())
    const answers: string[] = []
    const call = async (method: string, url: string, body?: unknown) => {
      const answer = await instance.call(admin, method, url, { body })
      answers.push(answer.text)
      return answer.body
    }
    const resource = await call('POST', '/v1/resources', {
      name: 'Canary',
      protocol: 'rdp',
      address: 'desktop.example:3389',
      metadata: { username: `u${canary}`, password: canary },
    })
    const started = await call('POST', '/v1/sessions', { resource_id: resource.id, dpop_jkt: await newJkt() })
    await worker.bind(started.data_plane.token)
    await call('POST', `/v1/sessions/${started.session.id}/attachments`, { dpop_jkt: await newJkt(), takeover: true })
    await call('GET', `/v1/sessions/${started.session.id}`)
    await call('GET', '/v1/resources')
    await call('PATCH', `/v1/resources/${resource.id}`, { name: 'Renamed' })
    await call('POST', `/v1/sessions/${started.session.id}/terminate`)
    await call('GET', '/v1/audit-events')
    t.ok(worker.assignments.length >= 2)

    t.same(findSecret(answers.join('\n'), canary), [], 'answers')
    t.same(findSecret(JSON.stringify(worker.assignments), canary), [], 'assignments')
    t.same(findSecret(redis.commands(), canary), [], 'Redis')
    t.ok(redis.commands().includes('xadd'), 'which was watched')
    t.same(findSecret(stand.log, canary), [], 'log')
    const dump = await stand.postgres.dump(stand.superuserUrl)
    const tables = dump.split(/^-- /m).filter(part => findSecret(part, canary).length > 0)
    t.same(
      tables.map(part => part.split('\n', 1)[0]),
      ['rap.resources'],
      'database',
    )
  },
)
