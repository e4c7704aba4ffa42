import { renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { checkIdentityConfig, createMetrics, type IdentityConfig, openPlatformIdentity } from '../../src/index.ts'
import { capturedLog, type Platform, platform } from '../helper.ts'

const HOUR_MS = 3_600_000

/** Files as whoever issues certificates leaves them. */
async function files(t: Test, authority: Platform, identity: string) {
  const material = await authority.issue(identity)
  const dir = t.testdir({ 'tls.crt': material.cert, 'tls.key': String(material.key), 'ca.crt': material.ca })
  const write = (name: string, content: string | Buffer) => writeFileSync(join(dir, name), content)
  const config: IdentityConfig = {
    RAP_TRUST_DOMAIN: 'rap.test',
    RAP_TLS_CERT_FILE: join(dir, 'tls.crt'),
    RAP_TLS_KEY_FILE: join(dir, 'tls.key'),
    RAP_PLATFORM_CA_FILE: join(dir, 'ca.crt'),
    RAP_IDENTITY_POLL_SECONDS: 60,
  }
  return { material, dir, write, config }
}

async function opened(t: Test, config: IdentityConfig, { id = 'gateway', now = Date.now } = {}) {
  const log = capturedLog()
  const metrics = createMetrics({ service: 'test' })
  const times = { fileIntervalMs: HOUR_MS, now }
  const identity = await openPlatformIdentity({ config, kind: 'service', id, logger: log.logger, metrics, times })
  t.teardown(() => identity.close())
  return { identity, log, metrics }
}

t.test('an identity from files is the one that its certificate carries, or there is none', async t => {
  const authority = await platform()
  const { config, material } = await files(t, authority, 'service/gateway')
  const { identity } = await opened(t, config)
  t.match(identity, { kind: 'service', id: 'gateway', certFile: config.RAP_TLS_CERT_FILE, isRevoked: false })
  t.equal(String(identity.material.cert), material.cert)
  t.equal(identity.status(), 'ok')
  await t.rejects(opened(t, config, { id: 'secret-resolver' }), {
    code: 'ERR_IDENTITY_FILE',
    isLasting: true,
    message: /RAP_TLS_CERT_FILE\) carries the identity spiffe:\/\/rap.test\/service\/gateway and not .*secret-resolver/,
  })
  await t.rejects(opened(t, { ...config, RAP_TRUST_DOMAIN: 'rap.elsewhere' }), { code: 'ERR_IDENTITY_FILE' })
})

t.test('files that are wrong end a start for good, files that are not there yet do not', async t => {
  const authority = await platform()
  const { config, write, material } = await files(t, authority, 'service/gateway')
  const stranger = await authority.issue('service/gateway')
  for (const [name, content, variable] of [
    ['tls.key', String(stranger.key), 'RAP_TLS_KEY_FILE'],
    ['tls.key', '', 'RAP_TLS_KEY_FILE'],
    ['tls.crt', material.cert.slice(0, 200), 'RAP_TLS_CERT_FILE'],
    ['ca.crt', 'no certificate', 'RAP_PLATFORM_CA_FILE'],
  ] as const) {
    write(name, content)
    await t.rejects(
      opened(t, config),
      { code: 'ERR_IDENTITY_FILE', isLasting: true, facts: { path: config[variable] } },
      name,
    )
    write('tls.crt', material.cert)
    write('tls.key', String(material.key))
  }
  await t.rejects(opened(t, { ...config, RAP_TLS_KEY_FILE: '/nowhere' }), {
    code: 'ERR_IDENTITY_STORAGE',
    isLasting: false,
  })
})

t.test('certificate, key and trust bundle are read again when they change, each by itself', async t => {
  const [authority, next] = [await platform(), await platform()]
  const { config, write, material } = await files(t, authority, 'service/gateway')
  const { identity, metrics } = await opened(t, config)
  const seen: string[] = []
  identity.onChange(changed => void seen.push(`${String(changed.cert)}${String(changed.ca)}`))

  const both = `${material.ca}${next.caPem}`
  write('ca.crt', both)
  await identity.check()
  t.same(seen, [`${material.cert}${both}`], 'the trust bundle alone')
  t.equal(String(identity.material.ca), both)

  const renewed = await authority.issue('service/gateway')
  write('tls.crt', renewed.cert)
  await identity.check()
  t.equal(seen.length, 1, 'half a pair')
  t.match(identity.status(), /^changed files are not in use: TLS key does not belong/)
  write('tls.key', String(renewed.key))
  await identity.check()
  t.equal(seen.length, 2)
  t.equal(identity.status(), 'ok')

  const foreign = await authority.issue('service/secret-resolver')
  write('tls.crt', foreign.cert)
  write('tls.key', String(foreign.key))
  await identity.check()
  t.equal(String(identity.material.cert), renewed.cert, 'nobody becomes somebody else')
  t.match(identity.status(), /^changed files are not in use: .*carries the identity/)
  t.match(await metrics.registry.metrics(), /renewals_total\{outcome="renewed",.*\} 2\n.*\{outcome="failed",.*\} 1\n/)
})

t.test('a directory that is swapped by symbolic link, as mounted Kubernetes secrets are, is followed', async t => {
  const authority = await platform()
  const [first, second] = [await authority.issue('service/gateway'), await authority.issue('service/gateway')]
  const dataOf = (material: typeof first) => ({
    'tls.crt': material.cert,
    'tls.key': String(material.key),
    'ca.crt': material.ca,
  })
  const dir = t.testdir({
    '..first': dataOf(first),
    '..second': dataOf(second),
    '..data': t.fixture('symlink', '..first'),
  })
  const { identity } = await opened(t, {
    RAP_TRUST_DOMAIN: 'rap.test',
    RAP_TLS_CERT_FILE: join(dir, '..data', 'tls.crt'),
    RAP_TLS_KEY_FILE: join(dir, '..data', 'tls.key'),
    RAP_PLATFORM_CA_FILE: join(dir, '..data', 'ca.crt'),
    RAP_IDENTITY_POLL_SECONDS: 60,
  })
  symlinkSync('..second', join(dir, '..data_tmp'))
  renameSync(join(dir, '..data_tmp'), join(dir, '..data'))
  await identity.check()
  t.equal(String(identity.material.cert), second.cert)
})

t.test('what a part of the service did not take is handed over again with the next look', async t => {
  const authority = await platform()
  const { config, write } = await files(t, authority, 'service/gateway')
  const { identity } = await opened(t, config)
  let handed = 0
  identity.onChange(() => {
    handed += 1
    if (handed === 1) throw new Error('the file changed in between')
  })
  const renewed = await authority.issue('service/gateway')
  write('tls.crt', renewed.cert)
  write('tls.key', String(renewed.key))
  for (let look = 0; look < 3; look++) await identity.check()
  t.equal(handed, 2)
})

t.test('a certificate that nobody renewed shows itself when it has ended', async t => {
  const authority = await platform()
  const { config } = await files(t, authority, 'service/gateway')
  let offset = 0
  const { identity } = await opened(t, config, { now: () => Date.now() + offset })
  t.equal(identity.status(), 'ok')
  offset = 100 * 24 * HOUR_MS
  t.match(identity.status(), /^certificate ended at 20.*Z; whoever writes RAP_TLS_CERT_FILE/)
})

t.test('an identity is configured in one of the two ways, whole', async t => {
  const refused = (config: Partial<IdentityConfig>): string[] => {
    const variables: string[] = []
    const whole = { RAP_TRUST_DOMAIN: 'rap.test', RAP_IDENTITY_POLL_SECONDS: 60, ...config }
    checkIdentityConfig(whole, variable => void variables.push(variable))
    return variables
  }
  const byFiles = { RAP_TLS_CERT_FILE: '/c', RAP_TLS_KEY_FILE: '/k', RAP_PLATFORM_CA_FILE: '/ca' }
  const enrolled = { RAP_IDENTITY_DIR: '/id', CONTROL_PLANE_INTERNAL_URL: 'https://cp.example:8444' }
  t.same(refused(byFiles), [])
  t.same(refused(enrolled), [], 'a service that has enrolled needs no token')
  t.same(refused({ ...enrolled, RAP_JOIN_TOKEN_FILE: '/t', CONTROL_PLANE_URL: 'https://cp.example' }), [])
  t.same(refused({}), ['RAP_TLS_CERT_FILE', 'RAP_TLS_KEY_FILE', 'RAP_PLATFORM_CA_FILE'])
  t.same(refused({ ...byFiles, RAP_PLATFORM_CA_FILE: undefined } as never), ['RAP_PLATFORM_CA_FILE'])
  t.same(refused({ ...byFiles, RAP_JOIN_TOKEN_FILE: '/t' }), ['RAP_JOIN_TOKEN_FILE'])
  t.same(refused({ ...byFiles, ...enrolled }), ['RAP_TLS_CERT_FILE', 'RAP_TLS_KEY_FILE', 'RAP_PLATFORM_CA_FILE'])
  t.same(refused({ RAP_IDENTITY_DIR: '/id' }), ['CONTROL_PLANE_INTERNAL_URL'])
  t.same(refused({ ...enrolled, RAP_JOIN_TOKEN_FILE: '/t' }), ['CONTROL_PLANE_URL'])
})
