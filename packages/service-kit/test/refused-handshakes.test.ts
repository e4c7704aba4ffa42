import { connect as connectTcp } from 'node:net'
import { type ConnectionOptions, connect } from 'node:tls'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { onRefusedHandshake, type RefusedHandshake } from '../src/index.ts'
import { build, listen, platform, TRUST_DOMAIN } from './helper.ts'

const ours = await platform()
const foreign = await platform()
const server = await ours.issue('service/control-plane')
const app = await build(t as never, { tls: { ...server, requireClientCertificate: true }, trustDomain: TRUST_DOMAIN })
const refused: RefusedHandshake[] = []
onRefusedHandshake(app, handshake => refused.push(handshake))
const { port } = await listen(app)

async function knock(options: ConnectionOptions): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca: ours.caPem, ...options })
  socket.on('error', () => {})
  socket.on('secureConnect', () =>
    socket.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'),
  )
  socket.resume()
  await new Promise(resolve => socket.once('close', resolve))
}

const withoutCa = ({ cert, key }: { cert: string; key: string | Buffer }) => ({ cert, key })

t.test('each certificate that is refused before a route is told with reason and address', async t => {
  const cases: readonly (readonly [string, ConnectionOptions])[] = [
    ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', {}],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', withoutCa(await foreign.issue('worker/w'))],
    ['INVALID_PURPOSE', withoutCa(await ours.issue('worker/w', { usages: ['server'] }))],
  ]
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const [reason, options] of cases) {
      await knock({ ...options, maxVersion })
      await waitFor(() => refused.length === 1, { what: reason })
      t.strictSame(refused.splice(0), [{ reason, clientAddress: '127.0.0.1' }], `${reason}, ${maxVersion}`)
    }
  }
})

t.test('a good certificate, a probe that leaves and words that are no TLS are not told', async t => {
  await knock(withoutCa(await ours.issue('worker/w')))
  for (const words of ['', 'hello\n\n']) {
    const probe = connectTcp(port, '127.0.0.1')
    probe.on('error', () => {})
    probe.resume()
    probe.end(words)
    await new Promise(resolve => probe.once('close', resolve))
  }
  // What comes after them is told, so they have been looked at.
  await knock({})
  await waitFor(() => refused.length > 0, { what: 'the one without a certificate' })
  t.match(
    refused.map(({ reason }) => reason),
    ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE'],
  )
})
