import { connect, createServer, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import type { IssuedCertificate } from '@rap/pki'
import type { Teardown } from './server.ts'

/** A machine that answers in the place of a target, and remembers every byte that it got. */
export interface Impostor {
  readonly port: number
  readonly address: string
  /** All that came, in the clear and inside TLS, of every connection. */
  heard(): Buffer
  /** What came inside TLS. */
  secured(): Buffer
  readonly connections: number
}

export interface ImpostorOptions {
  /** Shown in TLS; undefined speaks no TLS. */
  readonly certificate?: IssuedCertificate | undefined
  /** Answer to the X.224 request, where there is no real target behind. */
  readonly confirm?: Uint8Array
  /** Port of the real target: everything is passed on to it, and back, decrypted on the way. */
  readonly real?: number
  /** Says something to every message inside TLS. */
  readonly answer?: (message: Buffer) => Uint8Array | undefined
}

export async function startImpostor(t: Teardown, options: ImpostorOptions): Promise<Impostor> {
  const heard: Buffer[] = []
  const secured: Buffer[] = []
  const sockets: Socket[] = []
  let connections = 0
  const server = createServer(socket => {
    connections += 1
    sockets.push(socket)
    socket.on('error', () => {})
    socket.once('data', request => {
      heard.push(request)
      if (options.real === undefined) {
        if (options.certificate === undefined) socket.on('data', bytes => heard.push(bytes))
        else socket.pause()
        if (options.confirm !== undefined) socket.write(options.confirm)
        if (options.certificate !== undefined) listen(wrap(socket, options.certificate))
        return
      }
      passOn(socket, request, options.real)
    })
  })

  function wrap(socket: Socket, { certificatePem: cert, keyPem: key }: IssuedCertificate): TLSSocket {
    const secure = new TLSSocket(socket, { isServer: true, cert, key })
    secure.on('error', () => {})
    return secure
  }

  function listen(secure: TLSSocket): void {
    secure.on('data', bytes => {
      heard.push(bytes)
      secured.push(bytes)
      const answer = options.answer?.(bytes)
      if (answer !== undefined) secure.write(answer)
    })
  }

  /** In the middle: its own TLS towards both sides, from the X.224 confirm on. */
  function passOn(socket: Socket, request: Buffer, port: number): void {
    const behind = connect(port, '127.0.0.1')
    sockets.push(behind)
    behind.on('error', () => {})
    behind.write(request)
    behind.once('data', answer => {
      socket.pause()
      behind.pause()
      socket.write(answer)
      if (options.certificate === undefined) throw new Error('who stands in the middle shows a certificate')
      const near = wrap(socket, options.certificate)
      const far = connectTls({ socket: behind, rejectUnauthorized: false })
      far.on('error', () => {})
      near.on('data', bytes => {
        heard.push(bytes)
        secured.push(bytes)
        far.write(bytes)
      })
      far.on('data', bytes => near.write(bytes))
      near.on('close', () => far.destroy())
      far.on('close', () => near.destroy())
    })
  }

  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
  })
  const { port } = server.address() as { port: number }
  return {
    port,
    address: `127.0.0.1:${port}`,
    heard: () => Buffer.concat(heard),
    secured: () => Buffer.concat(secured),
    get connections() {
      return connections
    },
  }
}
