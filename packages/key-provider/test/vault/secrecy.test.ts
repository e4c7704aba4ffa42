import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import type { TransitFault } from '@rap/testkit'
import { findSecret, newCanary } from '@rap/testkit'
import pino from 'pino'
import t from 'tap'
import { CONTEXT, contractDesk, errorOf, expectDone, servicePolicy, under } from './helper.ts'

/** Everything of a process that a person may come to read: log lines and errors with all that hangs on them. */
function readable() {
  let text = ''
  const write = (line: string) => {
    text += line
  }
  const logger = pino({ level: 'trace' }, { write })
  return {
    logger,
    add(error: Error) {
      logger.error({ err: error }, 'failed')
      text += inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error) + error.stack
    },
    text: () => text,
  }
}

const echo = (secret: string): TransitFault[] => [
  { kind: 'status', status: 400, errors: [`invalid ciphertext: ${secret}`] },
  { kind: 'status', status: 400, errors: [`unknown ${secret}`] },
  { kind: 'status', status: 403, errors: [secret] },
  { kind: 'status', status: 404, errors: [secret] },
  { kind: 'status', status: 500, errors: [secret], headers: { 'retry-after': secret } },
  { kind: 'redirect', location: `https://${secret}.example.com/${secret}` },
  { kind: 'body', body: `{"errors":["${secret}"]}` },
  { kind: 'body', body: secret },
  {
    kind: 'body',
    body: `{"data":{"ciphertext":"${secret}","plaintext":"${secret}*"},"auth":{"client_token":"${secret} "}}`,
  },
  { kind: 'cut', after: true },
  { kind: 'half' },
]

t.test('no token, secret id, JWT or data key is in a log line or an error, whatever the server says', async t => {
  const desk = await contractDesk(t)
  const root = await desk.source()
  await root.create!()
  const seen = readable()
  const appRole = await desk.appRole(servicePolicy(desk.mount, 'rap'))
  const mount = `${desk.mount}-kubernetes`
  await expectDone(desk.api('POST', `sys/auth/${mount}`, { type: 'kubernetes' }))
  const bound = {
    bound_service_account_names: 'a',
    bound_service_account_namespaces: 'b',
    token_policies: `${desk.mount}-service`,
  }
  await expectDone(desk.api('POST', `auth/${mount}/role/r`, bound))
  const jwt = desk.server.serviceAccountToken(mount, 'b', 'a')
  const wrong = newCanary()
  const auths = {
    token: (await desk.options()).auth,
    appRole,
    kubernetes: { method: 'kubernetes', mount, role: 'r', jwt_file: await desk.file(jwt) },
    'a wrong token': { method: 'token', token_file: await desk.file(wrong) },
    'a wrong secret id': { ...appRole, secret_id_file: await desk.file(wrong) },
    'a wrong JWT': { method: 'kubernetes', mount, role: 'r', jwt_file: await desk.file(wrong) },
  } as const
  const secrets = new Set([wrong, jwt, desk.server.rootToken])
  for (const [name, auth] of Object.entries(auths)) {
    const isWrong = name.startsWith('a wrong')
    const source = await desk.source({ auth: auth as never, timeout_ms: 1000 }, { logger: seen.logger })
    const key = source.key('main:v1')!
    const dataKey = Buffer.from(newCanary())
    secrets.add(dataKey.toString())
    if (isWrong) {
      seen.add(await errorOf(key.wrap(dataKey, CONTEXT)))
      continue
    }
    const wrapped = await key.wrap(dataKey, CONTEXT)
    const { dataKey: made } = await key.generateDataKey!(CONTEXT)
    secrets.add(made.toString('latin1'))
    // How the token came is nothing to these; once is enough.
    const uses = name === 'token' ? (['encrypt', 'decrypt', 'rewrap', 'datakey'] as const) : []
    for (const use of uses) {
      const call = {
        encrypt: () => key.wrap(dataKey, CONTEXT),
        decrypt: () => key.unwrap(wrapped, CONTEXT),
        rewrap: () => key.rewrap!(under(wrapped), CONTEXT),
        datakey: () => key.generateDataKey!(CONTEXT),
      }[use]
      for (const fault of echo(dataKey.toString())) {
        const off = desk.server.inject(fault, { path: `${desk.mount}/${use}` })
        seen.add(await errorOf(call()))
        off()
      }
    }
    for (const fault of echo(dataKey.toString())) {
      const fresh = await desk.source({ auth: auth as never, timeout_ms: 1000 }, { logger: seen.logger })
      const off = desk.server.inject(fault, { path: 'auth/' })
      await fresh.newestKeyId().catch(error => seen.add(error))
      off()
      seen.add(new Error(await fresh.health()))
    }
    seen.add(new Error(inspect([source, key], { depth: 10, showHidden: true })))
  }
  for (const { body, headers } of desk.server.requests) {
    const token = headers['x-vault-token']
    if (typeof token === 'string' && token !== '') secrets.add(token)
    const { secret_id: secretId } = JSON.parse(body.toString() || '{}')
    if (secretId !== undefined) secrets.add(secretId)
  }
  t.ok(secrets.size >= 12, `${secrets.size} secrets`)
  t.ok(seen.text().length > 100_000)
  for (const secret of secrets) t.same(findSecret(seen.text(), secret), [], 'not to be read')
})

t.test('a data key is in the plaintext of encrypt and in no other part of any request', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const key = source.key(await source.create!())!
  const dataKey = Buffer.from(newCanary())
  const wrapped = await key.wrap(dataKey, CONTEXT)
  const newest = source.key(await source.rotate!())!
  const again = await newest.rewrap!(under(wrapped), CONTEXT)
  t.same(await newest.unwrap(again, CONTEXT), dataKey)
  await key.generateDataKey!(CONTEXT)
  for (const { path, headers, body } of desk.server.requests) {
    const found = findSecret(
      Buffer.concat([Buffer.from(`${path}${JSON.stringify(headers)}`), body]),
      dataKey.toString(),
    )
    t.same(found.length > 0, path === `${desk.mount}/encrypt/rap`, path)
  }
})

t.test('a token, a credential and a data key are sent to nobody but the address', async t => {
  const desk = await contractDesk(t)
  const other = await contractDesk(t)
  const source = await desk.source()
  await source.create!()
  const sent = other.server.requests.length
  desk.server.inject({ kind: 'redirect', location: `${other.server.address}/v1/${desk.mount}/encrypt/rap` })
  await t.rejects(source.key('main:v1')!.wrap(randomBytes(32), CONTEXT), { facts: { reason: 'redirect' } } as never)
  const fresh = await desk.source({ auth: await other.appRole('') })
  await t.rejects(fresh.newestKeyId(), { facts: { reason: 'redirect', operation: 'login' } } as never)
  t.same(
    other.server.requests
      .slice(sent)
      .filter(request => request.path.endsWith('/login') || request.path.includes('encrypt')),
    [],
  )
})
