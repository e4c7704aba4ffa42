import { decodeX224ConnectionRequest, encodeX224ConnectionConfirm, PROTOCOL } from '@rap/rdp'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { certificate, confirm, open, startTarget, startTlsTarget, type TargetOfAssignment } from './server.ts'

const shown = await certificate()

function failure(failureCode: number): Uint8Array {
  return encodeX224ConnectionConfirm({ sourceReference: 0, negotiation: { type: 'failure', failureCode } })
}

t.test('the request names no account, and asks for what the resource allows', async t => {
  for (const [security, requestedProtocols] of [
    ['auto', PROTOCOL.SSL | PROTOCOL.HYBRID | PROTOCOL.HYBRID_EX],
    ['nla', PROTOCOL.HYBRID | PROTOCOL.HYBRID_EX],
    ['tls', PROTOCOL.SSL],
  ] as const) {
    const target = await startTarget(t, { answer: null })
    await t.rejects(open(t, { address: target.address, security }), { code: 'ERR_TARGET_CLOSED' })
    const request = decodeX224ConnectionRequest(target.plain())
    t.same(request, { negotiation: { flags: 0, requestedProtocols } }, security)
  }
})

t.test('each failure code of a target has a failure of its own', async t => {
  for (const [code, expected] of [
    [1, 'ERR_TARGET_SSL_REQUIRED'],
    [2, 'ERR_TARGET_SSL_NOT_ALLOWED'],
    [3, 'ERR_TARGET_NO_CERTIFICATE'],
    [4, 'ERR_TARGET_INCONSISTENT_FLAGS'],
    [5, 'ERR_TARGET_NLA_REQUIRED'],
    [6, 'ERR_TARGET_SMARTCARD_REQUIRED'],
    [7, 'ERR_TARGET_PROTOCOL'],
    [0xffffffff, 'ERR_TARGET_PROTOCOL'],
  ] as const) {
    const target = await startTarget(t, { answer: failure(code) })
    await t.rejects(open(t, { address: target.address }), { code: expected, facts: { failure_code: code } }, `${code}`)
    t.equal(target.secured().length, 0)
  }
})

t.test('what is selected was asked for, is one protocol, and is never plain RDP security', async t => {
  for (const [security, selected, expected] of [
    ['auto', PROTOCOL.RDP, 'ERR_TARGET_SECURITY_TOO_WEAK'],
    ['nla', PROTOCOL.RDP, 'ERR_TARGET_SECURITY_TOO_WEAK'],
    ['nla', PROTOCOL.SSL, 'ERR_TARGET_NLA_NOT_OFFERED'],
    ['nla', PROTOCOL.RDSTLS, 'ERR_TARGET_PROTOCOL'],
    ['tls', PROTOCOL.HYBRID, 'ERR_TARGET_PROTOCOL'],
    ['tls', PROTOCOL.HYBRID_EX, 'ERR_TARGET_PROTOCOL'],
    ['auto', PROTOCOL.RDSTLS, 'ERR_TARGET_PROTOCOL'],
    ['auto', PROTOCOL.RDSAAD, 'ERR_TARGET_PROTOCOL'],
    ['auto', PROTOCOL.SSL | PROTOCOL.HYBRID, 'ERR_TARGET_PROTOCOL'],
    ['auto', PROTOCOL.HYBRID | PROTOCOL.HYBRID_EX, 'ERR_TARGET_PROTOCOL'],
    ['auto', 0xffffffff, 'ERR_TARGET_PROTOCOL'],
  ] as const) {
    const target = await startTarget(t, { answer: confirm(selected), certificate: shown })
    await t.rejects(open(t, { address: target.address, security }), { code: expected }, `${security}: ${selected}`)
  }
})

t.test('a confirm without a negotiation answer is plain RDP security, and refused', async t => {
  const target = await startTarget(t, { answer: encodeX224ConnectionConfirm({ sourceReference: 0 }) })
  await t.rejects(open(t, { address: target.address }), { code: 'ERR_TARGET_SECURITY_TOO_WEAK' })
})

t.test('nothing may follow the confirm in the clear', async t => {
  const answer = Buffer.concat([confirm(PROTOCOL.SSL), Buffer.from('early')])
  const target = await startTarget(t, { answer, certificate: shown })
  await t.rejects(open(t, { address: target.address }), { code: 'ERR_TARGET_PROTOCOL', facts: { step: 'x224' } })
})

t.test('a server of another protocol is told so, whatever it answers', async t => {
  const answers: readonly (readonly [string, Uint8Array])[] = [
    ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.2p1\r\n')],
    ['HTTP', Buffer.from(`HTTP/1.1 400 Bad Request\r\ncontent-length: 120\r\n\r\n${'x'.repeat(120)}`)],
    ['SMTP', Buffer.from('220 mail.example ESMTP\r\n')],
    ['TLS alert', Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46])],
    ['a TPKT that is shorter than itself', Buffer.from([3, 0, 0, 4])],
    ['a TPKT of another TPDU', Buffer.from([3, 0, 0, 7, 2, 0xf0, 0x80])],
    ['a length indicator that lies', Buffer.from([3, 0, 0, 11, 200, 0xd0, 0, 0, 0, 0, 0])],
    ['zeros', Buffer.alloc(70_000)],
    ['random bytes', Buffer.from('9f3c'.repeat(200), 'hex')],
  ]
  for (const [name, answer] of answers) {
    const target = await startTarget(t, { answer })
    await t.rejects(open(t, { address: target.address }), { code: 'ERR_TARGET_PROTOCOL' }, name)
  }
})

t.test('a confirm that is cut at any byte is a closed connection', async t => {
  const whole = confirm(PROTOCOL.SSL)
  for (let size = 0; size < whole.length; size++) {
    const target = await startTarget(t, {
      onConnection: socket => socket.once('data', () => socket.end(whole.subarray(0, size))),
    })
    await t.rejects(open(t, { address: target.address }), { code: 'ERR_TARGET_CLOSED' }, `${size} bytes`)
  }
})

t.test('a confirm that comes byte by byte is read all the same', async t => {
  const target = await startTarget(t, {
    onConnection: socket =>
      socket.once('data', async () => {
        socket.setNoDelay(true)
        for (const byte of confirm(PROTOCOL.RDP)) {
          socket.write(Uint8Array.of(byte))
          await new Promise(resolve => setImmediate(resolve))
        }
      }),
  })
  await t.rejects(open(t, { address: target.address }), { code: 'ERR_TARGET_SECURITY_TOO_WEAK' })
})

t.test('a target that is silent in any step ends at the limit, and its socket is closed', async t => {
  const steps: readonly (readonly [string, Parameters<typeof startTarget>[1], TargetOfAssignment['security']])[] = [
    ['X.224', {}, 'auto'],
    ['TLS', { answer: confirm(PROTOCOL.SSL) }, 'tls'],
    ['CredSSP', { answer: confirm(PROTOCOL.HYBRID), certificate: shown }, 'nla'],
  ]
  const credentials = { username: 'u', domain: '', password: Buffer.from('p', 'utf16le') }
  for (const [name, script, security] of steps) {
    const target = await startTarget(t, script)
    const startedAt = performance.now()
    await t.rejects(
      open(t, { address: target.address, security }, { timeoutMs: 400, credentials }),
      { code: 'ERR_TARGET_TIMEOUT', facts: { limit_ms: 400 } },
      name,
    )
    t.ok(performance.now() - startedAt < 5000, name)
    await waitFor(() => target.open() === 0, { what: `the end of the socket (${name})` })
  }
})

t.test('an abort between two steps is seen by the next one', async t => {
  const target = await startTlsTarget(t, shown)
  const ended = new AbortController()
  ended.abort(new Error('ended'))
  await t.rejects(open(t, { address: target.address }, { signal: ended.signal }), { message: 'ended' })
})
