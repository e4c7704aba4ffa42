import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import tls from 'node:tls'
import { TestkitError } from './errors.ts'

/** X.224 Connection Request with an RDP_NEG_REQ for TLS and CredSSP: [MS-RDPBCGR] §2.2.1.1. */
const CONNECTION_REQUEST = Buffer.from('030000130ee000000000000100080003000000', 'hex')
/** X.224 Connection Confirm with an RDP_NEG_RSP: TPKT (4), TPDU (7), negotiation (8). */
const CONNECTION_CONFIRM_BYTES = 19
const TYPE_RDP_NEG_RSP = 2
const PROBE_TIMEOUT_MS = 5_000

/**
 * The certificate (DER) that an RDP server shows, learned as a client does: X.224 negotiation, then TLS.
 *
 * No certificate is judged here: it is read, so that a test can tell others what to expect.
 */
export async function probeRdpCertificate(host: string, port: number): Promise<Buffer> {
  const socket = connect(port, host)
  socket.setTimeout(PROBE_TIMEOUT_MS, () => socket.destroy(new Error('the RDP server does not answer')))
  try {
    socket.write(CONNECTION_REQUEST)
    const confirm = await readExactly(socket, CONNECTION_CONFIRM_BYTES)
    if (confirm[11] !== TYPE_RDP_NEG_RSP) {
      throw new TestkitError('ERR_TESTKIT_NOT_SUPPORTED', `RDP negotiation failed with code ${confirm[15]}`)
    }
    const secure = tls.connect({ socket, rejectUnauthorized: false })
    await once(secure, 'secureConnect')
    const certificate = secure.getPeerX509Certificate()
    // A polite end, so that the server logs no error.
    secure.end()
    await once(secure, 'close')
    if (certificate === undefined) throw new TestkitError('ERR_TESTKIT_NOT_SUPPORTED', 'the server has no certificate')
    return certificate.raw
  } finally {
    socket.destroy()
  }
}

async function readExactly(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const read: Buffer | null = socket.read(bytes)
    if (read !== null && read.length === bytes) return read
    if (socket.readableEnded || read !== null) throw new Error('the RDP server closed the connection')
    await Promise.race([
      once(socket, 'readable'),
      once(socket, 'close').then(() => Promise.reject(new Error('closed'))),
    ])
  }
}
