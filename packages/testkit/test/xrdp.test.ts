import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createAuthority } from '@rap/pki'
import t from 'tap'
import { canStartXrdp, startRdpClient, startXrdp, waitFor } from '../src/index.ts'

const able = canStartXrdp()
const skip = able.ok ? false : able.reason

const accounts = () => readFileSync('/etc/passwd', 'utf8')

t.test('a desktop comes up over TLS, typed text arrives, and nothing is left', { skip }, async t => {
  const authority = await createAuthority({ name: 'Test CA', days: 1, now: new Date() })
  const server = await startXrdp({ authority })
  t.teardown(() => server.stop())
  const certificate = new X509Certificate(server.certificatePem)
  t.ok(certificate.verify(new X509Certificate(authority.certificatePem).publicKey))
  t.match(accounts(), `${server.username}:`)

  const { host, port, username, password } = server
  const client = await startRdpClient({ host, port, username, password, args: ['/sec:tls'] })
  t.teardown(() => client.stop())
  await waitFor(() => server.isShellReady(), { what: 'the session', timeoutMs: 30_000 }).catch(err => {
    throw new Error(`${err.message}\n${server.log()}\n${client.log()}`)
  })
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
    { what: 'typed text to make a file', timeoutMs: 30_000 },
  )

  await client.stop()
  await server.stop()
  t.notMatch(accounts(), `${server.username}:`, 'the account is deleted')
  t.notOk(existsSync(server.home), 'its home is deleted')
})

const skipParallel = skip || (able.ok && !able.parallel && 'this machine has room for one session manager at a time')

t.test('two servers live beside each other, and both refuse a wrong password', { skip: skipParallel }, async t => {
  const servers = await Promise.all([startXrdp(), startXrdp()])
  for (const server of servers) t.teardown(() => server.stop())
  for (const { host, port, username, log } of servers) {
    const client = await startRdpClient({ host, port, username, password: 'wrong', args: ['/sec:tls'] })
    t.teardown(() => client.stop())
    await waitFor(() => /login failed|AUTHFAIL|authentication fail/i.test(log()), {
      what: 'the refusal',
    })
    await client.stop()
  }
})
