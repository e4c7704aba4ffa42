import t from 'tap'
import { AV_ID } from '../../src/credssp/av-pairs.ts'
import { NtlmClient } from '../../src/credssp/ntlm-client.ts'
import { channelBindingsHash } from '../../src/credssp/ntlm-crypto.ts'
import { NTLM_FLAG } from '../../src/credssp/ntlm-messages.ts'
import { decodeTsRequest, encodeTsRequest } from '../../src/credssp/ts-request.ts'
import { clientOptions, hex, PASSWORD, thrownBy, toHex, utf16 } from './helper.ts'
import { type Mischief, ModelServer, SERVER_AV_PAIRS, SERVER_FLAGS } from './model-server.ts'
import { CHALLENGE_MESSAGE } from './ms-nlmp-vectors.ts'

function challengeOf(server: ModelServer, client: NtlmClient): Uint8Array {
  const answer = server.receive(encodeTsRequest({ version: 6, negoToken: client.initiate() }))
  return decodeTsRequest(answer!).negoToken!
}

/** Runs NTLM up to the authenticate message; the model server checks proof and MIC. */
function authenticate(mischief: Partial<Mischief> = {}, changes: Parameters<typeof clientOptions>[0] = {}) {
  const server = new ModelServer(mischief)
  const client = new NtlmClient(clientOptions(changes))
  const negoToken = client.respond(challengeOf(server, client))
  thrownBy(() => server.receive(encodeTsRequest({ version: 6, negoToken }))) // No pubKeyAuth: not what is tested here.
  return { client, seen: server.authenticate!, message: negoToken }
}

const avValue = (seen: ModelServer['authenticate'], id: number) => {
  const value = seen!.avPairs.find(pair => pair.id === id)?.value
  return value === undefined ? undefined : toHex(value)
}

t.test('with a timestamp the client proves the password by NTLMv2 only and adds a MIC', async t => {
  const { client, seen } = authenticate()
  t.equal(seen.userName, 'svc-rdp')
  t.equal(seen.domainName, 'CORP')
  t.equal(seen.workstation, 'RAP-WORKER')
  t.ok(seen.hasMic)
  t.equal(toHex(seen.lmResponse), '00'.repeat(24), 'no LMv2 response')
  t.equal(toHex(seen.ntResponse.subarray(24, 32)), 'f8819288991ed601', 'the time of the server')
  t.equal(avValue(seen, AV_ID.MsvAvTargetName), toHex(utf16('TERMSRV/host.example')))
  t.equal(avValue(seen, AV_ID.MsvAvChannelBindings), '00'.repeat(16))
  t.ok(client.established)
})

t.test('without a timestamp the client uses its own time and LMv2, and no MIC', async t => {
  const avPairs = SERVER_AV_PAIRS.filter(pair => pair.id !== AV_ID.MsvAvTimestamp)
  const { seen } = authenticate({ avPairs })
  t.notOk(seen.hasMic)
  t.equal(seen.lmResponse.length, 24)
  t.not(toHex(seen.lmResponse), '00'.repeat(24))
  t.equal(Buffer.from(seen.ntResponse).readBigUInt64LE(24), 133_800_000_000_000_000n)
})

t.test('channel bindings of the TLS certificate are part of the proof', async t => {
  const channelBindings = hex('ab'.repeat(32))
  const { seen } = authenticate({}, { channelBindings })
  t.equal(avValue(seen, AV_ID.MsvAvChannelBindings), toHex(channelBindingsHash(channelBindings)))
})

t.test('the flags are what both sides want and nothing the server adds', async t => {
  const { seen } = authenticate({ flags: SERVER_FLAGS | 0x80000fc8 })
  t.equal(seen.flags >>> 0, SERVER_FLAGS & 0x62888235)
})

t.test('a challenge that agrees to less than strong NTLMv2 is refused before any response', async t => {
  const required = [
    NTLM_FLAG.NEGOTIATE_UNICODE,
    NTLM_FLAG.NEGOTIATE_SIGN,
    NTLM_FLAG.NEGOTIATE_SEAL,
    NTLM_FLAG.NEGOTIATE_EXTENDED_SESSIONSECURITY,
    NTLM_FLAG.NEGOTIATE_TARGET_INFO,
    NTLM_FLAG.NEGOTIATE_128,
    NTLM_FLAG.NEGOTIATE_KEY_EXCH,
  ]
  for (const flag of required) {
    const client = new NtlmClient(clientOptions())
    const challenge = challengeOf(new ModelServer({ flags: SERVER_FLAGS & ~flag }), client)
    const expected = { name: 'CredSspError', code: 'ERR_CREDSSP_WEAK_NEGOTIATION' }
    t.throws(() => client.respond(challenge), expected, flag.toString(16))
    t.notOk(client.established)
  }
})

t.test('a challenge in which the server does not name itself is refused', async t => {
  for (const id of [AV_ID.MsvAvNbComputerName, AV_ID.MsvAvNbDomainName]) {
    const client = new NtlmClient(clientOptions())
    const server = new ModelServer({ avPairs: SERVER_AV_PAIRS.filter(pair => pair.id !== id) })
    t.throws(() => client.respond(challengeOf(server, client)), { code: 'ERR_CREDSSP_WEAK_NEGOTIATION' })
  }
})

t.test('a challenge out of turn and a token after the end are refused', async t => {
  const unexpected = { code: 'ERR_CREDSSP_UNEXPECTED_MESSAGE' }
  t.throws(() => new NtlmClient(clientOptions()).respond(CHALLENGE_MESSAGE), unexpected, 'before the start')
  const { client } = authenticate()
  t.throws(() => client.respond(CHALLENGE_MESSAGE), unexpected, 'a second one')
  t.throws(() => client.finish(hex('00')), unexpected)
  client.finish(undefined)
})

t.test('sealing before the keys exist is a mistake of the caller', async t => {
  const client = new NtlmClient(clientOptions())
  t.throws(() => client.seal(hex('00')), TypeError)
  t.throws(() => client.unseal(hex('00')), TypeError)
  client.destroy()
})

t.test('the authenticate message holds the password in no form', async t => {
  const { message } = authenticate()
  t.notOk(Buffer.from(message).includes(Buffer.from(PASSWORD, 'utf16le')))
  t.notOk(Buffer.from(message).includes(Buffer.from(PASSWORD, 'utf8')))
})
