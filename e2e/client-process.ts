import { text } from 'node:stream/consumers'
import { createRapClient } from '@rap/client-sdk'
import { RdpClient } from './rdp-client.ts'

/** What this program reads from its standard input, as JSON. */
export interface ClientOrder {
  readonly baseUrl: string
  readonly caPem: string
  readonly email: string
  readonly password: string
  readonly resourceId: string
}

// A client of the platform in a process of its own, so that a test can look into its memory: the SDK, and an RDP client
// that brings the desktop up. It says so on its standard output and stays until it is ended.
const order = JSON.parse(await text(process.stdin)) as ClientOrder
const rap = createRapClient({ baseUrl: order.baseUrl, trust: { caPem: order.caPem } })
await rap.login(order)
const session = await rap.sessions.start({ resourceId: order.resourceId })
const { stream } = await session.connect()
const writer = stream.writable.getWriter()
const client = new RdpClient({ send: bytes => void writer.write(Uint8Array.from(bytes)) })
client.start()
let told = false
for await (const chunk of stream.readable) {
  client.push(chunk)
  if (told || client.updates.fastPath === 0) continue
  told = true
  process.stdout.write('desktop is up\n')
}
