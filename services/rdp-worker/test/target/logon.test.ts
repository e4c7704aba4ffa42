import { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { inspect } from 'node:util'
import { PROTOCOL } from '@rap/rdp'
import { subjectPublicKeyOf } from '@rap/rdp/credssp'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { encodeTsRequest, tsRequestSize } from '../../../../packages/rdp/src/credssp/ts-request.ts'
import { type Mischief, ModelServer } from '../../../../packages/rdp/test/credssp/model-server.ts'
import type { OpenTargetOptions } from '../../src/target/open.ts'
import { certificate, confirm, open, startTarget, type Target, type Teardown } from './server.ts'

const shown = await certificate()
const publicKey = subjectPublicKeyOf(new X509Certificate(shown.certificatePem).raw)
const PASSWORD = 'Str0ng Pässword'

function credentials(password = PASSWORD) {
  return { username: 'svc', domain: 'CORP', password: Buffer.from(password, 'utf16le') }
}

interface NlaTarget extends Target {
  readonly model: ModelServer
  /** The error that ended the model's side, where one did. */
  fault(): unknown
}

/** A target that asks for NLA over real TLS; what it answers is the model's, and may be mischievous. */
async function startNlaTarget(
  t: Teardown,
  mischief: Partial<Mischief> = {},
  options: { readonly selected?: number; readonly afterwards?: (secure: TLSSocket) => void } = {},
): Promise<NlaTarget> {
  const { selected = PROTOCOL.HYBRID, afterwards } = options
  const model = new ModelServer({ publicKey, ...mischief })
  let fault: unknown
  const target = await startTarget(t, {
    answer: confirm(selected),
    certificate: shown,
    onSecure: secure => {
      let buffered = Buffer.alloc(0)
      secure.on('data', chunk => {
        buffered = Buffer.concat([buffered, chunk])
        const size = tsRequestSize(buffered)
        if (size === undefined || size > buffered.length) return
        const frame = buffered.subarray(0, size)
        buffered = buffered.subarray(size)
        try {
          const answer = model.receive(frame)
          if (answer !== undefined) secure.write(answer)
          else afterwards?.(secure)
        } catch (error) {
          fault = error
          secure.end()
        }
      })
    },
  })
  return Object.assign(target, { model, fault: () => fault })
}

async function logon(t: Teardown, target: Target, changes: Partial<OpenTargetOptions> = {}) {
  return await open(t, { address: target.address, security: 'nla' }, { credentials: credentials(), ...changes })
}

const le32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer)

t.test('the account is delegated to a target that proves its key, and to no other', async t => {
  const honest = await startNlaTarget(t)
  const warm = await logon(t, honest)
  t.equal(warm.selectedProtocol, PROTOCOL.HYBRID)
  await waitFor(() => honest.model.credentials, { what: 'the delegated account' })
  t.match(honest.model.credentials, { username: 'svc', domain: 'CORP' })
  t.equal(Buffer.from(honest.model.credentials?.password ?? []).toString('utf16le'), PASSWORD)

  const otherKey = await startNlaTarget(t, { proof: honest => honest.map(byte => byte ^ 1) })
  await t.rejects(logon(t, otherKey), { code: 'ERR_TARGET_PUBLIC_KEY_MISMATCH' })
  t.equal(otherKey.model.credentials, undefined)
})

t.test('somebody between the worker and the desktop gets no password out of either', async t => {
  // Between two TLS connections the honest desktop's key is another than the one that the worker sees.
  const desktopKey = subjectPublicKeyOf(new X509Certificate((await certificate()).certificatePem).raw)
  const between = await startNlaTarget(t, { publicKey: desktopKey })
  await t.rejects(logon(t, between), { code: 'ERR_TARGET_LOGON_FAILED' })
  t.match(between.fault(), { message: 'public key of the client does not match' }, 'the desktop sees it')
  t.equal(between.model.credentials, undefined)
})

t.test('a wrong password, and each state of an account, has a code and words of its own', async t => {
  await t.rejects(logon(t, await startNlaTarget(t), { credentials: credentials('wrong') }), {
    code: 'ERR_TARGET_LOGON_FAILED',
    facts: { nt_status: 0xc000006d },
  })
  for (const [status, code] of [
    [0xc0000234, 'ERR_TARGET_ACCOUNT_LOCKED'],
    [0xc0000071, 'ERR_TARGET_PASSWORD_EXPIRED'],
    [0xc0000224, 'ERR_TARGET_PASSWORD_MUST_CHANGE'],
    [0xc0000072, 'ERR_TARGET_ACCOUNT_DISABLED'],
    [0xc000015b, 'ERR_TARGET_ACCOUNT_LOGON_TYPE'],
    [0xc0000418, 'ERR_TARGET_NTLM_BLOCKED'],
    [0xc00000bb, 'ERR_TARGET_SERVER_ERROR'],
  ] as const) {
    const target = await startNlaTarget(t, {
      answer: (answer, message) => (message === 2 ? { version: 6, errorCode: status } : answer),
    })
    const hex = status.toString(16)
    await t.rejects(
      logon(t, target),
      { code, facts: { nt_status: status }, failure: { code, detail: new RegExp(`0x${hex}`), remedy: String } },
      hex,
    )
    t.equal(target.model.credentials, undefined)
  }
})

t.test('a target that closes on the proof of the password has refused it; before that, it has just closed', async t => {
  const closing = async (message: number) =>
    await startNlaTarget(t, {
      answer: (answer, at) => {
        if (at === message) throw new Error('closes')
        return answer
      },
    })
  await t.rejects(logon(t, await closing(1)), { code: 'ERR_TARGET_CLOSED' })
  await t.rejects(logon(t, await closing(2)), { code: 'ERR_TARGET_LOGON_FAILED' })
})

t.test('old versions of the logon protocol are refused unless an operator allows them', async t => {
  for (const version of [2, 3, 4]) {
    await t.rejects(
      logon(t, await startNlaTarget(t, { version })),
      { code: 'ERR_TARGET_CREDSSP_VERSION' },
      `${version}`,
    )
    await logon(t, await startNlaTarget(t, { version }), { credSspMinimumVersion: 2 })
  }
  await logon(t, await startNlaTarget(t, { version: 5 }))
})

t.test('messages that are no CredSSP, or not of this state, end the logon', async t => {
  for (const [name, bytes] of [
    ['zeros', Buffer.alloc(32)],
    ['an empty sequence', Buffer.from('3000', 'hex')],
    ['a sequence that is too large', Buffer.from('3084ffffffff', 'hex')],
    ['a length without an end', Buffer.from('30ff', 'hex')],
    ['RDP', Buffer.from('0300000702f080', 'hex')],
    ['an answer without a token', Buffer.from(encodeTsRequest({ version: 6 }))],
    ['the end before the beginning', Buffer.from(encodeTsRequest({ version: 6, pubKeyAuth: new Uint8Array(32) }))],
  ] as const) {
    const target = await startTarget(t, {
      answer: confirm(PROTOCOL.HYBRID),
      certificate: shown,
      onSecure: secure => secure.once('data', () => secure.write(bytes)),
    })
    await t.rejects(logon(t, target), { code: 'ERR_TARGET_CREDSSP' }, name)
  }
})

t.test('NLA without an account is a failure of its own, and sends nothing', async t => {
  const target = await startNlaTarget(t)
  await t.rejects(open(t, { address: target.address, security: 'nla' }), { code: 'ERR_TARGET_CREDENTIALS_MISSING' })
  t.equal(target.secured().length, 0)
})

t.test('with early user authorization the target has the last word', async t => {
  const selected = PROTOCOL.HYBRID_EX
  const saying = async (bytes: Uint8Array) =>
    await startNlaTarget(t, {}, { selected, afterwards: secure => secure.write(bytes) })
  const warm = await logon(t, await saying(le32(0)))
  t.equal(warm.selectedProtocol, PROTOCOL.HYBRID_EX)
  await t.rejects(logon(t, await saying(le32(5))), { code: 'ERR_TARGET_ACCESS_DENIED' })
  await t.rejects(logon(t, await saying(le32(1))), { code: 'ERR_TARGET_CREDSSP' }, 'an unknown word is no yes')
  const silent = await startNlaTarget(t, {}, { selected })
  await t.rejects(logon(t, silent, { timeoutMs: 500 }), { code: 'ERR_TARGET_TIMEOUT' })
  const status = Buffer.from(encodeTsRequest({ version: 6, errorCode: 0xc000015b }))
  await t.rejects(logon(t, await saying(status)), { code: 'ERR_TARGET_ACCOUNT_LOGON_TYPE' }, 'a status in its place')
  const closing = await startNlaTarget(t, {}, { selected, afterwards: secure => secure.end() })
  await t.rejects(logon(t, closing), { code: 'ERR_TARGET_CLOSED' })
})

t.test('what a target says before the client has spoken is a refusal', async t => {
  const warm = await logon(t, await startNlaTarget(t))
  const status = encodeTsRequest({ version: 6, errorCode: 0xc0000224 })
  t.match(warm.refusalOf(status), { code: 'ERR_TARGET_PASSWORD_MUST_CHANGE' })
  t.match(warm.refusalOf(Buffer.from('0300000702f080', 'hex')), { code: 'ERR_TARGET_PROTOCOL' })
  const cut = (await logon(t, await startNlaTarget(t))).refusalOf
  t.match(cut(status.subarray(0, 5)), { code: 'ERR_TARGET_PROTOCOL' })
  t.match(cut(encodeTsRequest({ version: 6 })), { code: 'ERR_TARGET_PROTOCOL' }, 'a message without a status')

  const plain = await open(t, {
    address: (await startTarget(t, { answer: confirm(PROTOCOL.SSL), certificate: shown })).address,
  })
  t.match(plain.refusalOf(status), { code: 'ERR_TARGET_PROTOCOL' }, 'without CredSSP there is no such message')

  const atOnce = await startNlaTarget(
    t,
    {},
    { selected: PROTOCOL.HYBRID_EX, afterwards: secure => secure.write(Buffer.concat([le32(0), status])) },
  )
  await t.rejects(logon(t, atOnce), { code: 'ERR_TARGET_PASSWORD_MUST_CHANGE' }, 'together with the last word')
})

t.test('no failure of a logon holds the account or the password', async t => {
  const target = await startNlaTarget(t)
  const error = await logon(t, target, {
    credentials: { username: 'canary-user', domain: 'canary-domain', password: Buffer.from('canary-pw', 'utf16le') },
  }).then(
    () => undefined,
    refused => refused,
  )
  t.match(error, { code: 'ERR_TARGET_LOGON_FAILED' })
  t.notMatch(inspect(error, { depth: 10, showHidden: true }), /canary/)
})
