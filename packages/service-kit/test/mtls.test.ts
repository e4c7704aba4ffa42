import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { peerIdentity, requireIdentity, type ServerTls, type TlsMaterial } from '../src/index.ts'
import { build, listen, type Platform, platform, TRUST_DOMAIN } from './helper.ts'

async function resolver(
  t: Test,
  { issue }: Platform,
  requireClientCertificate: ServerTls['requireClientCertificate'] = true,
) {
  const tls = {
    ...(await issue('service/secret-resolver')),
    ...(requireClientCertificate && { requireClientCertificate }),
  }
  const app = await build(t, { tls, trustDomain: TRUST_DOMAIN })
  app.get('/open', async request => {
    const peer = peerIdentity(request)
    return peer === undefined ? { peer: null } : { peer: `${peer.kind}/${peer.id}`, thumbprint: peer.thumbprint }
  })
  app.get('/workers', { preHandler: requireIdentity({ kind: 'worker' }) }, async () => ({ ok: true }))
  app.get('/plane', { preHandler: requireIdentity({ kind: 'service', id: 'control-plane' }) }, async () => ({
    ok: true,
  }))
  app.get(
    '/both',
    { onRequest: requireIdentity({ kind: 'worker' }, { kind: 'service', id: ['control-plane', 'gateway'] }) },
    async () => ({ ok: true }),
  )
  return listen(app)
}

async function get(t: Test, url: string, ca: string, material?: TlsMaterial) {
  const agent = new Agent({ connect: { ca, ...(material && { cert: material.cert, key: material.key }) } })
  t.teardown(() => agent.destroy())
  const { statusCode, body } = await request(url, { dispatcher: agent })
  return { status: statusCode, json: (await body.json()) as Record<string, unknown> }
}

t.test('the identity of a verified client certificate is read from its SPIFFE ID', async t => {
  const authority = await platform()
  const { url } = await resolver(t, authority)
  const answer = await get(t, `${url}/open`, authority.caPem, await authority.issue('worker/w-1'))
  t.match(answer.json, { peer: 'worker/w-1', thumbprint: /^[A-Za-z0-9_-]{43}$/ })
})

t.test('only the named identities pass', async t => {
  const authority = await platform()
  const { url } = await resolver(t, authority)
  const expected: Record<string, Record<string, number>> = {
    'worker/w-1': { workers: 200, plane: 403, both: 200 },
    'service/control-plane': { workers: 403, plane: 200, both: 200 },
    'service/gateway': { workers: 403, plane: 403, both: 200 },
    'service/control-plane-2': { workers: 403, plane: 403, both: 403 },
    'worker/control-plane': { workers: 200, plane: 403, both: 200 },
  }
  for (const [identity, routes] of Object.entries(expected)) {
    const material = await authority.issue(identity)
    for (const [route, status] of Object.entries(routes)) {
      const answer = await get(t, `${url}/${route}`, authority.caPem, material)
      t.equal(answer.status, status, `${identity} at ${route}`)
      if (status === 403) t.equal(answer.json.code, 'ERR_MTLS_IDENTITY')
    }
  }
})

t.test('certificates of another trust domain, without an identity or with two of them are nobody', async t => {
  const authority = await platform()
  const { url } = await resolver(t, authority)
  const strangers = {
    'another trust domain': await authority.issue('worker/w-1', { trustDomain: 'evil.test' }),
    'no URI': await authority.issue('worker/w-1', { uris: [] }),
    'two URIs': await authority.issue('worker/w-1', {
      uris: [`spiffe://${TRUST_DOMAIN}/worker/w-1`, 'https://x.test'],
    }),
    'an unknown kind': await authority.issue('worker/w-1', { uris: [`spiffe://${TRUST_DOMAIN}/admin/w-1`] }),
    'an identity in a DNS name': await authority.issue('worker/w-1', { uris: [], dnsNames: ['worker.w-1.rap.test'] }),
  }
  for (const [name, material] of Object.entries(strangers)) {
    t.same((await get(t, `${url}/open`, authority.caPem, material)).json, { peer: null }, name)
    t.equal((await get(t, `${url}/workers`, authority.caPem, material)).status, 403, name)
  }
})

t.test(
  'no certificate, one of another CA, an expired one and one for servers only do not get through the handshake',
  async t => {
    const authority = await platform()
    const { url } = await resolver(t, authority)
    const refused = {
      none: undefined,
      'another CA': await (await platform()).issue('worker/w-1'),
      expired: await authority.issue('worker/w-1', { notAfter: new Date(Date.now() - 1000) }),
      'servers only': await authority.issue('worker/w-1', { usages: ['server'] }),
    }
    for (const [name, material] of Object.entries(refused)) {
      await t.rejects(get(t, `${url}/open`, authority.caPem, material), name)
    }
  },
)

t.test('where a certificate is optional, an unverified one is as good as none', async t => {
  const authority = await platform()
  const { url } = await resolver(t, authority, 'optional')
  const forged = await (await platform()).issue('worker/w-1')
  for (const material of [undefined, forged]) {
    t.same((await get(t, `${url}/open`, authority.caPem, material)).json, { peer: null })
    t.equal((await get(t, `${url}/workers`, authority.caPem, material)).status, 403)
  }
  t.equal((await get(t, `${url}/workers`, authority.caPem, await authority.issue('worker/w-1'))).status, 200)
})

t.test('a server that asks for no certificate knows nobody', async t => {
  const authority = await platform()
  const { url } = await resolver(t, authority, false)
  t.same((await get(t, `${url}/open`, authority.caPem, await authority.issue('worker/w-1'))).json, { peer: null })
})

t.test('an identity ends with its certificate, also on a connection that stays open', async t => {
  const authority = await platform()
  const { url } = await resolver(t, authority)
  const material = await authority.issue('worker/w-1', { notAfter: new Date(Date.now() + 5000) })
  const agent = new Agent({ connections: 1, connect: { ca: authority.caPem, cert: material.cert, key: material.key } })
  t.teardown(() => agent.destroy())
  const status = async () => {
    const { statusCode, body } = await request(`${url}/workers`, { dispatcher: agent })
    await body.dump()
    return statusCode
  }
  t.equal(await status(), 200)
  const deadline = Date.now() + 20_000
  while ((await status()) === 200 && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 100))
  t.equal(await status(), 403)
})
