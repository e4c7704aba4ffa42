import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { CredSspClient } from '../../src/credssp/client.ts'
import { CredSspError } from '../../src/credssp/errors.ts'
import { decodeTsRequest, encodeTsRequest } from '../../src/credssp/ts-request.ts'
import { converse, refused } from './conversation.ts'
import { clientOptions, hex, SERVER_PUBLIC_KEY, utf16 } from './helper.ts'
import { type Mischief, ModelServer, SERVER_FLAGS } from './model-server.ts'

const MALFORMED = 'ERR_CREDSSP_MALFORMED_MESSAGE'
const NEGOTIATIONS = ['ntlm', 'spnego'] as const

/** Changes the answer to one message of the client. */
function at(message: number, change: Mischief['answer']): Mischief['answer'] {
  return (answer, now, request) => (now === message ? change(answer, now, request) : answer)
}

t.test('credentials are sealed only after the server has proved the public key of its TLS', async t => {
  const otherKey = Uint8Array.from(SERVER_PUBLIC_KEY)
  otherKey[20]! ^= 1
  const hashOf = (direction: string, key: Uint8Array, nonce: Uint8Array | undefined) =>
    createHash('sha256')
      .update(`CredSSP ${direction} Binding Hash\0`)
      .update(nonce ?? hex(''))
      .update(key)
      .digest()
  // Each server knows the password and seals rightly; only what it proves is not the key of this TLS connection.
  const proofs: [string, Mischief['proof']][] = [
    ['another key, hashed', (_honest, nonce) => hashOf('Server-To-Client', otherKey, nonce)],
    ['the direction of the client', (_honest, nonce) => hashOf('Client-To-Server', SERVER_PUBLIC_KEY, nonce)],
    ['another nonce', () => hashOf('Server-To-Client', SERVER_PUBLIC_KEY, hex('00'.repeat(32)))],
    ['another key', () => otherKey],
    ['the key itself', () => SERVER_PUBLIC_KEY],
    ['the honest proof with a byte more', honest => Buffer.concat([honest, hex('00')])],
    ['the honest proof with a byte less', honest => honest.subarray(1)],
    ['nothing', () => hex('')],
  ]
  for (const version of [2, 3, 4, 5, 6]) {
    for (const negotiation of NEGOTIATIONS) {
      for (const [name, proof] of proofs) {
        const result = converse({ version, negotiation, proof }, { negotiation })
        refused(t, result, 'ERR_CREDSSP_PUBLIC_KEY_MISMATCH', `${name}, version ${version}, ${negotiation}`)
      }
    }
  }
})

t.test('the proof of an older version does not count in a newer one, and the other way round', async t => {
  const plusOne = Uint8Array.from(SERVER_PUBLIC_KEY)
  plusOne[0]! += 1
  const older = converse({ version: 6, proof: () => plusOne })
  refused(t, older, 'ERR_CREDSSP_PUBLIC_KEY_MISMATCH', 'plus one at version 6')
  const newer = converse({ version: 4, proof: () => hex('00'.repeat(32)) })
  refused(t, newer, 'ERR_CREDSSP_PUBLIC_KEY_MISMATCH', 'hash at version 4')
})

t.test('after a refusal the honest answer comes too late', async t => {
  const server = new ModelServer()
  const client = new CredSspClient(clientOptions())
  const proof = client.step(server.receive(client.start())!).send[0]!
  const honest = server.receive(proof)!
  t.throws(() => client.step(honest.subarray(1)), CredSspError)
  t.throws(() => client.step(honest), TypeError)
})

t.test('a changed, reflected, empty or missing pubKeyAuth ends the logon without credentials', async t => {
  const flipped = (bytes: Uint8Array | undefined) => bytes!.map((byte, index) => (index === 20 ? byte ^ 1 : byte))
  const altered: [string, Mischief['answer']][] = [
    ['changed', at(2, answer => ({ ...answer, pubKeyAuth: flipped(answer.pubKeyAuth) }))],
    ['reflected', at(2, (answer, _message, request) => ({ ...answer, pubKeyAuth: request.pubKeyAuth! }))],
    ['empty', at(2, answer => ({ ...answer, pubKeyAuth: hex('') }))],
    ['a signature only', at(2, answer => ({ ...answer, pubKeyAuth: answer.pubKeyAuth!.subarray(0, 16) }))],
  ]
  const unexpected: [string, Mischief['answer']][] = [
    ['missing', at(2, ({ version }) => ({ version }))],
    ['too early', at(1, answer => ({ ...answer, pubKeyAuth: hex('00'.repeat(48)) }))],
    ['too early and alone', at(1, ({ version }) => ({ version, pubKeyAuth: hex('00'.repeat(48)) }))],
    ['beside credentials of the server', at(2, answer => ({ ...answer, authInfo: hex('00') }))],
  ]
  for (const version of [2, 4, 5, 6]) {
    for (const [name, answer] of altered) {
      refused(t, converse({ version, answer }), 'ERR_CREDSSP_MESSAGE_ALTERED', `${name}, version ${version}`)
    }
    for (const [name, answer] of unexpected) {
      refused(t, converse({ version, answer }), 'ERR_CREDSSP_UNEXPECTED_MESSAGE', `${name}, version ${version}`)
    }
  }
})

t.test('a pubKeyAuth of another logon with the same password is refused', async t => {
  const answers: (Uint8Array | undefined)[] = []
  const record = at(2, answer => {
    answers.push(answer.pubKeyAuth)
    return answer
  })
  t.ok(converse({ answer: record }).client.done)
  let next = 100
  const random = (size: number) => Uint8Array.from({ length: size }, () => next++ & 0xff)
  const replay = at(2, answer => ({ ...answer, pubKeyAuth: answers[0]! }))
  refused(t, converse({ answer: replay }, { random }), 'ERR_CREDSSP_MESSAGE_ALTERED', 'replayed')
})

t.test('a server without the password cannot prove anything', async t => {
  const result = converse({ password: utf16('another') })
  refused(t, result, 'ERR_CREDSSP_LOGON_FAILED', 'honest')
  t.equal(result.error?.ntStatus, 0xc000006d)
  const pretend = at(2, ({ version }) => ({ version, pubKeyAuth: hex(`01000000${'00'.repeat(44)}`) }))
  const pretending = converse({ password: utf16('another'), answer: pretend })
  refused(t, pretending, 'ERR_CREDSSP_MESSAGE_ALTERED', 'pretending')
})

t.test('a version below the policy is refused before the password proves anything', async t => {
  for (const [version, minimumVersion] of [
    [4, 5],
    [2, 3],
    [5, 6],
    [1, 2],
    [0, 2],
  ] as const) {
    const result = converse({ version }, { minimumVersion })
    refused(t, result, 'ERR_CREDSSP_VERSION', `${version} below ${minimumVersion}`)
    t.equal(result.sent.length, 1)
  }
  t.ok(converse({ version: 5 }, { minimumVersion: 5 }).client.done)
})

t.test('a version that changes between messages is refused', async t => {
  for (const [first, second] of [
    [6, 2],
    [6, 5],
    [2, 6],
  ] as const) {
    const result = converse({ version: first, answer: at(2, answer => ({ ...answer, version: second })) })
    refused(t, result, 'ERR_CREDSSP_VERSION', `${first}, then ${second}`)
  }
})

t.test('weak NTLM negotiation is refused before any response', async t => {
  for (const flag of [0x20000000, 0x00080000, 0x40000000, 0x20]) {
    const result = converse({ flags: SERVER_FLAGS & ~flag })
    refused(t, result, 'ERR_CREDSSP_WEAK_NEGOTIATION', `without ${flag.toString(16)}`)
    t.equal(result.sent.length, 1)
  }
})

t.test('a token that does not fit the negotiation is refused', async t => {
  const raw = at(1, answer => ({ ...answer, negoToken: hex('4e544c4d5353500002000000') }))
  const wrapped = converse({ negotiation: 'spnego', answer: raw }, { negotiation: 'spnego' })
  refused(t, wrapped, MALFORMED, 'raw NTLM where SPNEGO was offered')
  const extra = converse({ answer: at(2, answer => ({ ...answer, negoToken: hex('00') })) })
  refused(t, extra, 'ERR_CREDSSP_UNEXPECTED_MESSAGE', 'a token after the end of raw NTLM')
})

t.test('SPNEGO ends only with accept-completed and a mechListMIC that verifies', async t => {
  const notCompleted: [string, Partial<Mischief>][] = [
    ['reject', { finalToken: token => ({ ...token, negState: 2 }) }],
    ['incomplete', { finalToken: token => ({ ...token, negState: 1 }) }],
    ['no MIC', { finalToken: () => ({ negState: 0 }) }],
    ['no state', { finalToken: ({ mechListMic }) => ({ mechListMic: mechListMic! }) }],
    ['no token', { answer: at(2, ({ version, pubKeyAuth }) => ({ version, pubKeyAuth: pubKeyAuth! })) }],
  ]
  for (const [name, mischief] of notCompleted) {
    const result = converse({ negotiation: 'spnego', ...mischief }, { negotiation: 'spnego' })
    refused(t, result, 'ERR_CREDSSP_MECHANISM_REFUSED', name)
  }
  for (const mic of ['', '00', `01000000${'00'.repeat(12)}`]) {
    const finalToken: Mischief['finalToken'] = token => ({ ...token, mechListMic: hex(mic) })
    const result = converse({ negotiation: 'spnego', finalToken }, { negotiation: 'spnego' })
    refused(t, result, 'ERR_CREDSSP_MESSAGE_ALTERED', `MIC ${mic}`)
  }
})

t.test('huge and invalid lengths are refused from the first bytes on', async t => {
  for (const bytes of ['3083010000', '30830fffff', '3084ffffffff', '3080', '0300', '1603']) {
    const client = new CredSspClient(clientOptions())
    client.start()
    t.throws(() => client.frameSize(hex(bytes)), { name: 'CredSspError', code: MALFORMED }, bytes)
    t.equal(client.state, 'failed')
  }
  const client = new CredSspClient(clientOptions())
  client.start()
  t.equal(client.frameSize(hex('')), undefined)
  t.equal(client.frameSize(hex('3082')), undefined)
  t.equal(client.frameSize(hex('3082fffc')), 65_536)
})

t.test('every truncated prefix of every answer is refused', async t => {
  const answers: Uint8Array[] = []
  converse({
    answer: answer => {
      answers.push(encodeTsRequest(answer))
      return answer
    },
  })
  t.equal(answers.length, 2)
  for (const [index, answer] of answers.entries()) {
    for (let size = 0; size < answer.length; size++) {
      const client = new CredSspClient(clientOptions())
      const first = client.start()
      if (index === 1) client.step(new ModelServer().receive(first)!)
      t.throws(() => client.step(answer.subarray(0, size)), { name: 'CredSspError', code: MALFORMED }, `${size} bytes`)
    }
  }
})

t.test('a changed byte never frees the credentials and never throws another error', async t => {
  const position = fc.record({ at: fc.nat(1000), mask: fc.integer({ min: 1, max: 255 }) })
  const property = fc.property(
    fc.constantFrom(1, 2),
    position,
    fc.constantFrom(...NEGOTIATIONS),
    fc.constantFrom(2, 6),
    (message, { at, mask }, negotiation, version) => {
      const server = new ModelServer({ negotiation, version })
      const client = new CredSspClient(clientOptions({ negotiation }))
      let answer = Uint8Array.from(server.receive(client.start())!)
      if (message === 2) answer = Uint8Array.from(server.receive(client.step(answer).send[0]!)!)
      answer[at % answer.length]! ^= mask
      try {
        // A changed challenge may still be one; the server will not accept the response to it.
        const { send, done } = client.step(answer)
        return message === 1 && !done && decodeTsRequest(send[0]!).authInfo === undefined
      } catch (error) {
        return error instanceof CredSspError && client.state === 'failed'
      }
    },
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 1000 }))
})
