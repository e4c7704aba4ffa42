import { readFileSync } from 'node:fs'
import { createRapClient, fileTrustStore, openTrustBundles, RapError } from '@rap/client-sdk'

const rap = createRapClient({
  baseUrl: 'https://rap.example.com',
  trust: {
    bundles: await openTrustBundles({
      first: { document: readFileSync('trust-bundle.json', 'utf8') },
      store: fileTrustStore('/var/lib/example/trust'),
    }),
  },
})
await rap.login({ email: 'operator@example.com', password: process.env.RAP_PASSWORD ?? '' })

const { items } = await rap.resources.list()
const resource = items.find(({ name }) => name === 'Accounting')
if (resource === undefined) throw new Error('there is no such desktop')

try {
  const session = await rap.sessions.start({ resourceId: resource.id, display: { width: 1280, height: 800 } })
  const connection = await session.connect()
  process.stderr.write(`${connection.trace.explain()}\n`)
  // connection.stream is the RDP byte stream from MCS Connect Initial on: hand both halves to your RDP code.
  const { readable, writable } = connection.stream
  await Promise.all([fromTarget(readable), toTarget(writable)])
  await session.detach()
} catch (error) {
  if (!(error instanceof RapError)) throw error
  process.stderr.write(`${error.code}: ${error.detail ?? error.message} ${error.remedy ?? ''}\n`)
}

async function fromTarget(readable: ReadableStream<Uint8Array>): Promise<void> {
  for await (const bytes of readable) process.stdout.write(bytes)
}

async function toTarget(writable: WritableStream<Uint8Array>): Promise<void> {
  const writer = writable.getWriter()
  for await (const bytes of process.stdin) await writer.write(bytes)
  await writer.close()
}
