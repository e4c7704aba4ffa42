import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createAuthority } from '@rap/pki'
import t, { type Test } from 'tap'
import { type ShadowServer, startRdpClient, startShadow, waitFor } from '../src/index.ts'

const username = 'demo'
const password = 'Correct-Horse 9'

/** Types a command into the terminal of the desktop until its effect is there: the first keys may come too early. */
async function typesAFile(t: Test, server: ShadowServer, args: string[]): Promise<void> {
  const client = await startRdpClient({ host: server.host, port: server.port, username, password, args })
  t.teardown(() => client.stop())
  const file = join(server.home, 'typed.txt')
  await waitFor(
    async () => {
      await client.type('echo seen > typed.txt')
      await client.key('Return')
      return waitFor(() => existsSync(file) && readFileSync(file, 'utf8') === 'seen\n', {
        what: 'the file',
        timeoutMs: 1_000,
      })
    },
    { what: `typed text to make a file\n${client.log()}`, timeoutMs: 30_000 },
  )
}

t.test('an NLA desktop comes up, with a certificate of the authority given, and typed text arrives', async t => {
  const authority = await createAuthority({ name: 'Test CA', days: 1, now: new Date() })
  const server = await startShadow({ username, password, security: 'nla', authority, dnsNames: ['desk.example'] })
  t.teardown(() => server.stop())
  const certificate = new X509Certificate(server.certificatePem)
  t.ok(certificate.verify(new X509Certificate(authority.certificatePem).publicKey))
  t.equal(certificate.fingerprint256, server.certificateFingerprint)
  t.equal(certificate.checkHost('desk.example'), 'desk.example')
  await typesAFile(t, server, ['/sec:nla'])
  t.match(await server.run('sh', ['-c', 'echo "$DISPLAY $HOME"']), `${server.display} ${server.home}`)
})

t.test('an NLA desktop refuses a wrong password', async t => {
  const server = await startShadow({ username, password, security: 'nla' })
  t.teardown(() => server.stop())
  const client = await startRdpClient({ host: server.host, port: server.port, username, password: 'wrong' })
  t.teardown(() => client.stop())
  t.not((await client.exited).code, 0)
})

t.test('a TLS desktop comes up beside another one', async t => {
  const servers = await Promise.all(
    [1, 2].map(() => startShadow({ username, password, security: 'tls', width: 800, height: 600 })),
  )
  for (const server of servers) t.teardown(() => server.stop())
  t.not(servers[0]?.display, servers[1]?.display)
  await typesAFile(t, servers[1] as ShadowServer, ['/sec:tls'])
  t.notOk(existsSync(join(servers[0]?.home ?? '', 'typed.txt')))
})
