import { randomUUID } from 'node:crypto'
import { createAuthority, issueCertificate } from '@rap/pki'
import { remoteKeySet } from '@rap/service-kit'
import { freePort, waitFor } from '@rap/testkit'
import { type KeyLookup, signToken, TokenError, verifyToken } from '@rap/token-claims'
import t from 'tap'
import { type Instance, newJkt, startStand } from '../helper.ts'

const stand = await startStand(t)
const platformOwner = await stand.user({ platformRole: 'owner' })
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId)
const authority = await createAuthority({ name: 'test CA', days: 1, now: new Date() })
const { certificatePem, keyPem } = await issueCertificate({
  authority,
  commonName: 'control-plane',
  dnsNames: ['localhost'],
  usages: ['server'],
  now: new Date(),
})

const ENV = { SESSION_LIMIT_PER_USER: '10000', SESSION_LIMIT_PER_ORGANIZATION: '10000' }

/** One of several control planes, which can be restarted, and a verifier that has its key set from it. */
class Node {
  instance!: Instance
  /** What the verifier's clock is ahead, in milliseconds. */
  skewMs = 0
  readonly keys: KeyLookup
  readonly #port: number

  private constructor(port: number) {
    this.#port = port
    this.keys = remoteKeySet({
      url: `https://localhost:${port}/.well-known/jwks.json`,
      tls: () => ({ ca: authority.certificatePem }),
      logger: stand.logger(),
      now: () => performance.now() + this.skewMs,
    }).lookup
  }

  static async start(): Promise<Node> {
    const node = new Node(await freePort())
    await node.#listen()
    return node
  }

  /** That of the control plane itself, whichever runs now. */
  readonly lookup: KeyLookup = kid => this.instance.controlPlane.context.signing.lookup(kid)

  async restart(): Promise<void> {
    await this.instance.stop()
    await this.#listen()
  }

  async #listen(): Promise<void> {
    this.instance = await stand.build(ENV, { publicTls: { cert: certificatePem, key: keyPem } })
    await this.instance.controlPlane.publicApp.listen({ host: '127.0.0.1', port: this.#port })
  }
}

const nodes = [await Node.start(), await Node.start()] as const
const [first, second] = nodes
const worker = (await first.instance.worker()).start()
const place = () => ({
  organization_id: randomUUID(),
  resource_id: randomUUID(),
  worker_id: randomUUID(),
  session_id: randomUUID(),
  attachment_id: randomUUID(),
})

async function newToken({ signing, config }: Instance['controlPlane']['context']): Promise<string> {
  return await signToken(
    'lease',
    { ...place(), lease_id: randomUUID(), secret_ref: null, cnf: { 'x5t#S256': 'A'.repeat(43) } },
    {
      key: await signing.active(),
      issuer: config.DATA_PLANE_ISSUER,
      jti: randomUUID(),
      nowSeconds: Math.floor(Date.now() / 1000),
      lifetimeSeconds: 120,
    },
  )
}

async function verifies(token: string, keys: KeyLookup): Promise<boolean> {
  const { DATA_PLANE_ISSUER: issuer } = second.instance.controlPlane.context.config
  try {
    await verifyToken('lease', token, { keys, issuer, nowSeconds: Math.floor(Date.now() / 1000) })
    return true
  } catch (error) {
    if (error instanceof TokenError) return false
    throw error
  }
}

/** As a client does that is told to come again, within the life of a token. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  const until = performance.now() + 30_000
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (performance.now() > until) throw error
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}

const rotate = () => first.instance.call(platformOwner, 'POST', '/v1/signing-keys/rotate', { body: { force: true } })

t.test('while keys rotate without a pause and instances restart, no valid token is refused anywhere', async t => {
  let isOver = false
  const counts = { tokens: 0, refused: 0, binds: 0, refusedBinds: [] as unknown[] }
  const kids = new Set<string>()
  const signAndVerify = async (node: Node) => {
    while (!isOver) {
      const token = await answered(() => newToken(node.instance.controlPlane.context))
      kids.add(token.split('.')[0] ?? '')
      for (const keys of [first.keys, second.keys, node.lookup]) {
        if (!(await answered(() => verifies(token, keys)))) counts.refused += 1
      }
      counts.tokens += 1
    }
  }
  const startAndBind = async () => {
    while (!isOver) {
      const { status, body } = await first.instance.call(operator, 'POST', '/v1/sessions', {
        body: { resource_id: resourceId, dpop_jkt: await newJkt() },
      })
      if (status !== 201) counts.refusedBinds.push(body)
      const bound = await worker.bind(body.data_plane.token, {}, first.instance)
      if (bound.status !== 200) counts.refusedBinds.push(bound.body)
      counts.binds += 1
    }
  }
  const load = [...nodes, ...nodes].map(signAndVerify)
  const binds = startAndBind()
  for (let round = 0; round < 12; round++) {
    t.equal((await rotate()).status, 200)
    // The first keeps the worker of this test; the second comes and goes under its verifier.
    if (round % 4 === 3) await second.restart()
  }
  await waitFor(() => counts.tokens > 20 && counts.binds > 10 && kids.size > 3, {
    what: 'enough of it',
  })
  isOver = true
  await Promise.all([...load, binds])
  t.equal(counts.refused, 0, `of ${counts.tokens} tokens`)
  t.same(counts.refusedBinds, [], `of ${counts.binds} binds`)
})

t.test('a verifier goes on with a set that has not changed', async t => {
  const { context } = first.instance.controlPlane
  const before = stand.log.split('key_set_not_fetched').length
  for (let number = 0; number < 3; number++) {
    for (const node of nodes) {
      node.skewMs += 30_000
      t.equal(await verifies(await newToken(context), node.keys), true)
    }
  }
  t.equal(stand.log.split('key_set_not_fetched').length, before)
  t.match(stand.log, /jwks\.json[^\n]*"status":304/)
})

t.test(
  'no token of a revoked key is accepted: at once by every control plane, and within 30 seconds by every verifier',
  async t => {
    const { context } = first.instance.controlPlane
    const stolen = await context.signing.active()
    const sign = () => newToken({ ...context, signing: { active: async () => stolen } as never })
    t.equal(await verifies(await sign(), second.keys), true)
    const bindable = await first.instance.call(operator, 'POST', '/v1/sessions', {
      body: { resource_id: resourceId, dpop_jkt: await newJkt() },
    })
    t.equal((await first.instance.call(platformOwner, 'POST', `/v1/signing-keys/${stolen.kid}/revoke`)).status, 200)
    for (const node of nodes) {
      t.equal(await verifies(await sign(), node.lookup), false)
      const bound = await worker.bind(bindable.body.data_plane.token, {}, node.instance)
      t.match(bound, { status: 403, body: { code: 'ERR_BIND_TOKEN_INVALID' } })
    }
    for (const node of nodes) {
      node.skewMs += 30_000
      t.equal(await verifies(await sign(), node.keys), false)
      t.equal(await verifies(await newToken(context), node.keys), true, 'and the next key is known')
    }
  },
)

t.test('no token of a retired key is accepted, however fresh it is', async t => {
  const { context } = first.instance.controlPlane
  const old = await context.signing.active()
  const sign = () => newToken({ ...context, signing: { active: async () => old } as never })
  await stand.sql`update rap.signing_keys set retiring_at = now() - interval '1 hour' where state = 'retiring'`
  t.equal((await rotate()).status, 200)
  t.equal(await verifies(await sign(), second.keys), true, 'its tokens still live')
  await stand.sql`update rap.signing_keys set retiring_at = now() - interval '1 hour' where state = 'retiring'`
  for (const node of nodes) {
    node.skewMs += 30_000
    t.equal(await verifies(await sign(), node.lookup), false)
    t.equal(await verifies(await sign(), node.keys), false)
  }
})
