import { inspect } from 'node:util'
import t from 'tap'
import { CredSspClient, type CredSspOptions } from '../../src/credssp/client.ts'
import { decodeTsRequest, encodeTsRequest } from '../../src/credssp/ts-request.ts'
import { converse, refused } from './conversation.ts'
import { clientOptions, hex, PASSWORD, thrownBy, utf16 } from './helper.ts'
import { type Mischief, ModelServer } from './model-server.ts'

for (const negotiation of ['ntlm', 'spnego'] as const) {
  for (const version of [2, 3, 4, 5, 6, 7]) {
    t.test(`a server of version ${version} gets the credentials, ${negotiation} tokens`, async t => {
      const { server, client, error } = converse({ version, negotiation }, { negotiation })
      t.equal(error, undefined)
      t.ok(client.done)
      t.equal(client.state, 'done')
      t.equal(client.version, Math.min(version, 6))
      t.same(server.credentials, { domain: 'CORP', username: 'svc-rdp', password: utf16(PASSWORD) })
    })
  }
}

t.test('a client that offers less speaks less, in every message', async t => {
  for (const offeredVersion of [2, 3, 4, 5]) {
    const { client, sent, server } = converse({}, { offeredVersion })
    t.equal(client.version, offeredVersion)
    t.strictSame(
      sent.map(frame => decodeTsRequest(frame).version),
      Array(3).fill(offeredVersion),
    )
    t.ok(server.credentials)
  }
})

t.test('the nonce travels with the proof from version 5 on, and only there', async t => {
  for (const version of [2, 4, 5, 6]) {
    const nonces = converse({ version }).sent.map(frame => decodeTsRequest(frame).clientNonce?.length)
    t.strictSame(nonces, [undefined, version < 5 ? undefined : 32, undefined], `version ${version}`)
  }
})

t.test('the error code of the server ends the logon at every message, with its status', async t => {
  for (const [status, code] of [
    [0xc0000234, 'ERR_CREDSSP_ACCOUNT_LOCKED'],
    [0xc0000224, 'ERR_CREDSSP_PASSWORD_MUST_CHANGE'],
    [0xc0001234, 'ERR_CREDSSP_SERVER_ERROR'],
  ] as const) {
    for (const at of [1, 2]) {
      const answer: Mischief['answer'] = (honest, message) =>
        message === at ? { ...honest, errorCode: status } : honest
      const result = converse({ answer })
      refused(t, result, code, `status ${status.toString(16)} at message ${at}`)
      t.equal(result.error?.ntStatus, status)
    }
  }
  const fine = converse({ answer: answer => ({ ...answer, errorCode: 0 }) })
  t.ok(fine.client.done, 'STATUS_SUCCESS is no error')
})

t.test('an error that comes after the credentials is still understood; any other message is refused', async t => {
  const { client } = converse()
  const error = thrownBy(() => client.step(encodeTsRequest({ version: 6, errorCode: 0xc000015b })))
  t.match(error, { name: 'CredSspError', code: 'ERR_CREDSSP_ACCOUNT_LOGON_TYPE', ntStatus: 0xc000015b })
  t.notOk(client.done)
  const other = converse().client
  t.throws(() => other.step(encodeTsRequest({ version: 6, pubKeyAuth: hex('00') })), {
    code: 'ERR_CREDSSP_UNEXPECTED_MESSAGE',
  })
})

t.test('a connection that the server closes on the proof is a failed logon, before it is not', async t => {
  const client = new CredSspClient(clientOptions())
  const server = new ModelServer()
  const first = client.start()
  t.equal(new CredSspClient(clientOptions()).peerClosed().code, 'ERR_CREDSSP_PEER_CLOSED')
  client.step(server.receive(first)!)
  const error = client.peerClosed()
  t.equal(error.code, 'ERR_CREDSSP_LOGON_FAILED')
  t.equal(error.ntStatus, undefined, 'the server named no status')
  t.equal(client.state, 'failed')
})

t.test('a client is started once, and neither steps before the start nor after its end', async t => {
  const client = new CredSspClient(clientOptions())
  t.equal(client.state, 'initial')
  t.throws(() => client.step(hex('3000')), TypeError)
  client.start()
  t.equal(client.state, 'negotiating')
  t.throws(() => client.start(), TypeError)
  client.destroy()
  t.equal(client.state, 'destroyed')
  t.throws(() => client.step(hex('3000')), TypeError)
})

t.test('options that no server could accept are mistakes of the caller', async t => {
  const wrong: Partial<CredSspOptions>[] = [
    { username: '' },
    { username: 'x'.repeat(1025) },
    { domain: '\ud800' },
    { password: hex('00') },
    { password: new Uint8Array(4098) },
    { serverPublicKey: hex('') },
    { minimumVersion: 1 },
    { minimumVersion: 7 },
    { offeredVersion: 7 },
    { random: () => new Uint8Array(0) },
    { offeredVersion: 4, minimumVersion: 5 },
  ]
  for (const changes of wrong) t.throws(() => new CredSspClient(clientOptions(changes)), TypeError, inspect(changes))
})

t.test('errors and the client itself show neither password nor user name', async t => {
  const { client, error } = converse({ password: utf16('another') })
  for (const shown of [inspect(client, { depth: 9 }), inspect(error), JSON.stringify(client), JSON.stringify(error)]) {
    t.notMatch(shown, /svc-rdp|Str0ng/)
    t.notOk(shown.includes(Buffer.from(PASSWORD, 'utf16le').toString('hex').slice(0, 12)))
  }
})

t.test('the password of the caller is read, never changed', async t => {
  const password = utf16(PASSWORD)
  const { client } = converse({}, { password })
  client.destroy()
  t.same(password, utf16(PASSWORD))
})
