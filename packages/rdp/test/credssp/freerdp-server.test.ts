import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import { subjectPublicKeyOf, tlsServerEndPointOf } from '../../src/credssp/certificate.ts'
import { CredSspClient, type CredSspOptions } from '../../src/credssp/client.ts'
import { CredSspError } from '../../src/credssp/errors.ts'
import { hex, utf16 } from './helper.ts'
import { startShadowServer } from './shadow-server.ts'

const USERNAME = 'svc-rdp'
const RIGHT = 'Pässw0rd {€}'
const STEP_TIMEOUT_MS = 60_000

/** X.224 Connection Request that offers HYBRID, [MS-RDPBCGR] §2.2.1.1, and the part of the answer that selects it. */
const CONNECTION_REQUEST = hex('03000013 0ee000000000 00 01000800 02000000')
const HYBRID_SELECTED = '02000000'
/** MCS Connect Initial of a FreeRDP 2.11 client, serverSelectedProtocol set to HYBRID; the answer starts with 7f66. */
const CONNECT_INITIAL = hex(`
  030001b702f0807f658201ab0401010401010101ff301a020122020102020100020101020100020101020300ffff02010230190201010201
  01020101020101020100020101020204200201023020020300ffff020300fc17020300ffff020101020100020101020300ffff0201020482
  0145000500147c0001813c000800100001c00044756361812e01c0ea000c0008002003580201ca03aa09040000bb47000063006c00690065
  006e0074${'00'.repeat(21)}04000000000000000c${'00'.repeat(67)}01ca01000000000018000f00e305${'00'.repeat(64)}0700
  02${'00'.repeat(21)}04c00c000d0000000000000002c00c00000000000000000003c02c00030000007264706472000000000080c07264
  70736e640000000000c0647264796e766300000080c0`)

const shadow = await startShadowServer(USERNAME, RIGHT)
t.teardown(() => shadow.stop())

/** A TLS connection to the server after X.224 has chosen HYBRID. */
async function connect(): Promise<tls.TLSSocket> {
  const socket = net.connect(shadow.port, '127.0.0.1')
  socket.setTimeout(STEP_TIMEOUT_MS, () => socket.destroy(new Error('server does not answer')))
  await once(socket, 'connect')
  socket.write(CONNECTION_REQUEST)
  const [confirm] = (await once(socket, 'data')) as [Buffer]
  if (!confirm.toString('hex').endsWith(HYBRID_SELECTED)) throw new Error('server does not choose HYBRID')
  const secure = tls.connect({ socket, rejectUnauthorized: false })
  await once(secure, 'secureConnect')
  return secure
}

interface Logon {
  readonly client: CredSspClient
  readonly error: CredSspError | undefined
  /** First bytes of the server's answer to MCS Connect Initial, or '' when it closed instead. */
  readonly answer: string
}

interface LogonChanges extends Partial<Omit<CredSspOptions, 'password'>> {
  readonly password?: string
  readonly bind?: boolean
  /** Changes what the client sends last, its sealed credentials. */
  readonly spoil?: (authInfo: Uint8Array) => Uint8Array
}

async function logon({ password = RIGHT, bind = false, spoil, ...changes }: LogonChanges = {}): Promise<Logon> {
  const secure = await connect()
  const certificate = secure.getPeerCertificate().raw
  const channelBindings = bind ? tlsServerEndPointOf(certificate) : undefined
  const client = new CredSspClient({
    username: USERNAME,
    domain: '',
    password: utf16(password),
    serverPublicKey: subjectPublicKeyOf(certificate),
    ...(channelBindings && { channelBindings }),
    targetName: 'TERMSRV/127.0.0.1',
    workstation: 'RAP-WORKER',
    random: randomBytes,
    nowFileTime: 133_800_000_000_000_000n,
    ...changes,
  })
  try {
    secure.write(client.start())
    let buffered: Buffer = Buffer.alloc(0)
    for await (const chunk of secure) {
      buffered = Buffer.concat([buffered, chunk as Buffer])
      if (client.done) return { client, error: undefined, answer: buffered.subarray(7, 9).toString('hex') }
      const size = client.frameSize(buffered)
      if (size === undefined || buffered.length < size) continue
      const { send, done } = client.step(buffered.subarray(0, size))
      buffered = buffered.subarray(size)
      for (const message of send) secure.write(done && spoil ? spoil(message) : message)
      if (done) secure.write(CONNECT_INITIAL)
    }
    return { client, error: client.done ? undefined : client.peerClosed(), answer: '' }
  } catch (error) {
    if (error instanceof CredSspError) return { client, error, answer: '' }
    // The server may reset a connection that it has no more use for.
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
    return { client, error: client.done ? undefined : client.peerClosed(), answer: '' }
  } finally {
    client.destroy()
    secure.destroy()
  }
}

t.test('the server takes the delegated password and goes on to MCS', async t => {
  const { client, error, answer } = await logon()
  t.equal(error, undefined)
  t.equal(client.version, 6, 'FreeRDP 2.11 and 3 speak version 6')
  t.equal(answer, '7f66', 'an MCS Connect Response')
})

for (const offeredVersion of [2, 3, 4, 5]) {
  t.test(`a client of version ${offeredVersion} gets in with the right password only`, async t => {
    const right = await logon({ offeredVersion })
    t.equal(right.client.version, offeredVersion)
    t.equal(right.answer, '7f66')
    const wrong = await logon({ offeredVersion, password: 'wrong' })
    t.equal(wrong.error?.code, 'ERR_CREDSSP_LOGON_FAILED')
  })
}

t.test('channel bindings and a domain are accepted', async t => {
  t.equal((await logon({ bind: true })).answer, '7f66')
  t.equal((await logon({ domain: 'CORP' })).answer, '7f66')
})

t.test('a wrong password and an unknown user are failed logons', async t => {
  for (const changes of [{ password: 'wrong' }, { password: '' }, { username: 'nobody' }]) {
    const { client, error, answer } = await logon(changes)
    t.match(error, { name: 'CredSspError', code: 'ERR_CREDSSP_LOGON_FAILED' })
    t.notOk(client.done)
    t.equal(answer, '')
  }
})

t.test('the server refuses credentials that were changed on the way', async t => {
  const spoil = (message: Uint8Array) => message.map((byte, index) => (index === message.length - 1 ? byte ^ 1 : byte))
  const { error, answer } = await logon({ spoil })
  t.equal(error, undefined, 'the client has done its part')
  t.equal(answer, '', 'no MCS Connect Response')
})

t.test('a client that sees the certificate of somebody else in between sends no credentials', async t => {
  for (const offeredVersion of [2, 6]) {
    const serverPublicKey = hex(`3082010a0282010100${'c3'.repeat(256)}0203010001`)
    const { client, error } = await logon({ serverPublicKey, offeredVersion })
    t.ok(error)
    t.notOk(client.done)
  }
})

t.test('FreeRDP 2 reads NTLM messages only without SPNEGO', { skip: shadow.majorVersion > 2 }, async t => {
  const { client, error } = await logon({ negotiation: 'spnego' })
  t.match(error, { name: 'CredSspError', code: 'ERR_CREDSSP_SERVER_ERROR' })
  t.notOk(client.done)
})

t.test('FreeRDP 3 reads SPNEGO', { skip: shadow.majorVersion < 3 }, async t => {
  t.equal((await logon({ negotiation: 'spnego' })).answer, '7f66')
})
