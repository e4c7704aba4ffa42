import { readFileSync } from 'node:fs'
import t from 'tap'
import { findSecret, newCanary, startPlatform, startShadow, targetOf, tempDir } from '../src/index.ts'

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

t.test('a platform comes up with its targets, and all of it ends', async t => {
  const password = newCanary()
  const shadow = await startShadow({ username: 'demo', password, security: 'nla' })
  t.teardown(() => shadow.stop())
  const target = targetOf(shadow, { name: 'Desk', credential: { username: 'demo', password }, security: 'nla' })
  const platform = await startPlatform({ targets: [target] })
  t.teardown(() => platform.stop())

  const [resource] = platform.resources
  t.match(resource, { name: 'Desk', address: `127.0.0.1:${shadow.port}`, organization_id: platform.organizationId })
  const secret = await platform.api.call('GET', `/v1/resources/${resource?.id}/secret`)
  t.match(secret, { version: 1 })
  t.match(
    await platform.addTarget({ ...target, labels: { site: 'test' } }),
    { id: resource?.id ?? '' },
    'the same resource',
  )

  t.same(findSecret(await platform.dumpDatabase(), password), [], 'the password is not in the database')
  t.same(findSecret(platform.logs(), password), [], 'nor in a log')

  const services = [platform.controlPlane, platform.secretResolver, platform.gateway, ...platform.workers]
  const pids = services.map(service => service?.pid ?? 0)
  t.equal(pids.filter(isAlive).length, 4)
  await platform.stop()
  t.same(pids.filter(isAlive), [])
})

t.test(
  'a platform whose parts enrol by themselves comes up, and again in the same folder with what they enrolled for',
  async t => {
    const dir = tempDir('rap-platform-')
    t.teardown(() => dir.remove())
    const serials: string[][] = []
    for (const start of ['first', 'second']) {
      const platform = await startPlatform({ dir: dir.path, identities: 'enrolled' })
      t.teardown(() => platform.stop())
      const { items } = await platform.api.call<{
        items: { kind: string; id: string; certificate: { serial: string } | null }[]
      }>('GET', '/v1/identities')
      const others = items.filter(({ id }) => id !== 'control-plane')
      t.same(
        others.map(({ kind, id }) => `${kind}/${id}`).sort(),
        ['service/gateway', 'service/secret-resolver', `worker/${platform.workers[0]?.id}`],
        start,
      )
      serials.push(others.map(({ certificate }) => certificate?.serial ?? 'none').sort())
      t.match(platform.authority.certificatePem, /^-----BEGIN CERTIFICATE-----/)
      t.equal(readFileSync(platform.caFile, 'utf8'), platform.authority.certificatePem)
      await platform.stop()
    }
    t.equal(serials[0]?.includes('none'), false)
    t.same(serials[1], serials[0], 'nobody had to enrol anew')
  },
)
