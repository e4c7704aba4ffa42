import { randomUUID } from 'node:crypto'
import { certificateThumbprint, createAuthority, issueCertificate, spiffeId } from '@rap/pki'
import { createLogger, InternalClient, internalAgent } from '@rap/service-kit'
import { SignJWT } from 'jose'
import t from 'tap'
import { LeaseAgents } from '../../src/credentials/lease-agents.ts'

const authority = await createAuthority({ name: 'CA', days: 1, now: new Date() })
const id = randomUUID()
const logger = createLogger({ service: 'test', level: 'silent' })

async function material() {
  const { certificatePem: cert, keyPem: key } = await issueCertificate({
    authority,
    commonName: id,
    uris: [spiffeId('rap.test', 'worker', id)],
    usages: ['client'],
    now: new Date(),
  })
  return { cert, key, ca: authority.certificatePem }
}

const tokenOf = (cert: string) =>
  new SignJWT({ cnf: { 'x5t#S256': certificateThumbprint(cert) } })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new Uint8Array(32))

t.test('a lease token is redeemed with the certificate that it is bound to, also after renewals', async t => {
  const made: InternalClient[] = []
  const [first, second, third] = [await material(), await material(), await material()]
  const agents = new LeaseAgents(first, given => {
    const agent = internalAgent({ ...given, trustDomain: 'rap.test', expectedIdentity: 'service/secret-resolver' })
    const client = new InternalClient({ baseUrl: 'https://localhost:1', agent, logger })
    made.push(client)
    return { agent, client }
  })
  t.teardown(() => agents.destroy())
  t.equal(agents.for(await tokenOf(first.cert)), made[0])
  agents.setTls(second)
  agents.setTls(third)
  t.equal(agents.for(await tokenOf(first.cert)), made[0])
  t.equal(agents.for(await tokenOf(second.cert)), made[1])
  t.equal(agents.for(await tokenOf(third.cert)), made[2])
  t.equal(agents.for('no token'), made[2], 'the newest one, and the resolver refuses it')
})
