import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { type Answer, deskOn, type Target } from './helper.ts'

/**
 * What the provider reads in answers, asked of the server itself. It holds on the contract server as on the real ones, and
 * so keeps the contract server honest.
 */
export async function contractSuite(t: Test, target: Target): Promise<void> {
  await t.test('refusals have the status and the words that the provider tells them apart by', async t => {
    const desk = await deskOn(t, target)
    const { mount, api } = desk
    const post = (path: string, body: object) => api('POST', `${mount}/${path}`, body)
    const context = Buffer.from('context').toString('base64')
    const plaintext = randomBytes(32).toString('base64')
    await post('keys/k', { type: 'aes256-gcm96', derived: true })
    const { ciphertext } = (await post('encrypt/k', { plaintext, context })).body.data
    await post('keys/k/rotate', {})
    const rows: readonly (readonly [name: string, answer: Promise<Answer>, status: number, words: string])[] = [
      ['no context', post('encrypt/k', { plaintext }), 400, "missing 'context' for key derivation"],
      ['no context to open', post('decrypt/k', { ciphertext }), 400, "missing 'context' for key derivation"],
      [
        'too new to encrypt',
        post('encrypt/k', { plaintext, context, key_version: 3 }),
        400,
        'higher than the latest key version',
      ],
      [
        'too new for a data key',
        post('datakey/plaintext/k', { context, key_version: 3 }),
        400,
        'higher than the latest key version',
      ],
      [
        'too new to open',
        post('decrypt/k', { ciphertext: ciphertext.replace('v1', 'v3'), context }),
        400,
        'version is too new',
      ],
      ['a negative version', post('encrypt/k', { plaintext, context, key_version: -1 }), 400, 'is negative'],
      ['no prefix', post('decrypt/k', { ciphertext: 'AAAA', context }), 400, 'invalid ciphertext: no prefix'],
      ['no version', post('decrypt/k', { ciphertext: 'vault:v1', context }), 400, 'invalid ciphertext'],
      [
        'no base64',
        post('decrypt/k', { ciphertext: 'vault:v1:*', context }),
        400,
        'invalid ciphertext: could not decode base64',
      ],
      ['too short', post('decrypt/k', { ciphertext: 'vault:v1:AAAA', context }), 400, 'invalid ciphertext length'],
      ['no ciphertext', post('decrypt/k', { context }), 400, 'missing ciphertext'],
      ['no plaintext', post('encrypt/k', { context }), 400, 'missing plaintext'],
      ['plaintext that is no base64', post('encrypt/k', { plaintext: '*', context }), 400, 'illegal base64 data'],
      ['bits that no data key has', post('datakey/plaintext/k', { context, bits: 255 }), 400, 'invalid bit length'],
      ['no key to open with', post('decrypt/none', { ciphertext, context }), 400, 'encryption key not found'],
      ['no key to rewrap with', post('rewrap/none', { ciphertext, context }), 400, 'encryption key not found'],
      ['no key to rotate', post('keys/none/rotate', {}), 400, 'key not found'],
      ['no mount', api('POST', `${mount}-none/decrypt/k`, { ciphertext }), 404, 'no handler for route'],
      ['a bad token', api('GET', `${mount}/keys/k`, undefined, 'none'), 403, 'permission denied'],
      ['a method that a path has not', api('GET', `${mount}/encrypt/k`), 405, 'unsupported operation'],
    ]
    for (const [name, asked, status, words] of rows) {
      const answer = await asked
      t.equal(answer.status, status, name)
      t.match(answer.body.errors.join('\n'), words, name)
    }
    t.same(await api('GET', `${mount}/keys/none`), { status: 404, body: { errors: [] } })
    await post('keys/k/config', { min_decryption_version: 2 })
    const old = await post('decrypt/k', { ciphertext, context })
    t.match(old, { status: 400, body: { errors: [/disallowed by policy \(too old\)/] } })
    const archived = await post('encrypt/k', { plaintext, context, key_version: 1 })
    t.match(archived, { status: 200, body: { data: { ciphertext: /^vault:v1:/ } } }, 'it wraps what it would not open')
    await post('keys/k/config', { min_encryption_version: 2 })
    const closed = await post('encrypt/k', { plaintext, context, key_version: 1 })
    t.match(closed, { status: 400, body: { errors: [/less than the minimum encryption key version/] } })
  })

  await t.test('answers have the members that the provider reads', async t => {
    const desk = await deskOn(t, target)
    const { mount, api } = desk
    const context = Buffer.from('context').toString('base64')
    await api('POST', `${mount}/keys/k`, { type: 'aes256-gcm96', derived: true })
    t.match((await api('GET', `${mount}/keys/k`)).body, {
      data: {
        type: 'aes256-gcm96',
        derived: true,
        convergent_encryption: false,
        exportable: false,
        allow_plaintext_backup: false,
        deletion_allowed: false,
        supports_encryption: true,
        latest_version: 1,
        min_decryption_version: 1,
        min_encryption_version: 0,
      },
    })
    const made = (await api('POST', `${mount}/datakey/plaintext/k`, { context, bits: 256, key_version: 1 })).body.data
    t.match(made, { ciphertext: /^vault:v1:/, plaintext: /^[A-Za-z0-9+/]{43}=$/, key_version: 1 })
    const opened = (await api('POST', `${mount}/decrypt/k`, { ciphertext: made.ciphertext, context })).body.data
    t.equal(opened.plaintext, made.plaintext)
    const self = (await api('GET', 'auth/token/lookup-self')).body
    t.match(self, { data: { ttl: 0, id: target.rootToken } })
    const again = await api('POST', `${mount}/keys/k`, { type: 'aes256-gcm96', derived: true })
    t.ok(again.status < 300, 'a key that is there is no error to the server')
    const plain = await api('POST', `${mount}/keys/plain`, { type: 'aes256-gcm96' })
    t.ok(plain.status < 300)
    const ignoring = (await api('POST', `${mount}/encrypt/plain`, { plaintext: 'AAAA', context })).body.data
    const elsewhere = await api('POST', `${mount}/decrypt/plain`, { ciphertext: ignoring.ciphertext, context: 'AAAA' })
    t.match(
      elsewhere,
      { status: 200, body: { data: { plaintext: 'AAAA' } } },
      'a key that is not derived ignores contexts',
    )
  })

  await t.test('a token may do what its policies say, and ends with its time', async t => {
    const desk = await deskOn(t, target)
    const { mount, api } = desk
    await api('POST', `${mount}/keys/k`, { type: 'aes256-gcm96', derived: true })
    const auth = await desk.appRole(`path "${mount}/keys/k" { capabilities = ["read"] }`, {
      token_ttl: '1s',
      token_max_ttl: '1s',
    })
    const [roleId, secretId] = await Promise.all(
      ['role-id', 'secret-id'].map(what =>
        api(what === 'role-id' ? 'GET' : 'POST', `auth/${mount}-approle/role/service/${what}`),
      ),
    )
    t.equal(auth.method, 'approle')
    const body = { role_id: roleId!.body.data.role_id, secret_id: secretId!.body.data.secret_id }
    // A second is short: each question that needs a token that lives has a new one.
    const logIn = async () => (await api('POST', `auth/${mount}-approle/login`, body, '')).body.auth
    t.match(await logIn(), { client_token: /^\S+$/, lease_duration: 1, renewable: true })
    const may = async (...request: [method: 'GET' | 'POST', path: string, body?: unknown]) =>
      (await api(request[0], request[1], request[2], (await logIn()).client_token)).status
    t.equal(await may('GET', `${mount}/keys/k`), 200)
    t.equal(await may('POST', `${mount}/keys/k/rotate`, {}), 403)
    t.equal(await may('POST', `${mount}/encrypt/new`, { plaintext: 'AAAA' }), 403)
    const wrong = await api('POST', `auth/${mount}-approle/login`, { ...body, secret_id: 'none' }, '')
    t.equal(wrong.status, 400)
    const lease = await logIn()
    const renewed = await api('POST', 'auth/token/renew-self', {}, lease.client_token)
    t.equal(renewed.status, 200)
    t.ok(renewed.body.auth.lease_duration <= 1)
    while ((await api('GET', 'auth/token/lookup-self', undefined, lease.client_token)).status === 200) {
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    t.equal((await api('GET', `${mount}/keys/k`, undefined, lease.client_token)).status, 403)
    t.equal((await api('POST', 'auth/token/renew-self', {}, lease.client_token)).status, 403)
  })
}
