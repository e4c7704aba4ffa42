import {
  allow_insecure_direct_data_plane_tls_for_smoke,
  createRapClient,
  type FirstTrustBundle,
  openTrustBundles,
  type RapClient,
  type RdpConnection,
  type Session,
  type TrustBundles,
} from '@rap/client-sdk'
import { type Platform, waitFor } from '@rap/testkit'
import { RdpClient } from '../rdp-client.ts'

/** A program of a user: the SDK in the rules of production, with an app-local trust bundle. */
export interface Client {
  readonly rap: RapClient
  readonly bundles: TrustBundles
}

export interface NewClientOptions {
  readonly first: FirstTrustBundle
  /** Beside the bundle, for the API alone. */
  readonly caPem?: string
  /** Sets the smoke bypass, which production ignores. */
  readonly bypass?: boolean
}

/** Makes a client that begins with this bundle, and logs in as the administrator. */
export async function newClient(platform: Platform, { first, caPem, bypass }: NewClientOptions): Promise<Client> {
  const bundles = await openTrustBundles({ first })
  const rap = createRapClient({
    baseUrl: platform.apiUrl,
    environment: 'production',
    trust: { bundles, ...(caPem !== undefined && { caPem }) },
    ...(bypass === true && { [allow_insecure_direct_data_plane_tls_for_smoke]: true }),
  })
  await rap.login(platform.admin)
  return { rap, bundles }
}

/** A desktop that is up. */
export interface LiveDesktop {
  readonly session: Session
  readonly connection: RdpConnection
  readonly client: RdpClient
  /** The end of the connection, once it has one. */
  readonly ended: () => string | undefined
}

export async function openDesktop({ rap }: Client, resourceId: string): Promise<LiveDesktop> {
  const session = await rap.sessions.start({ resourceId })
  const connection = await session.connect()
  const writer = connection.stream.writable.getWriter()
  const client = new RdpClient({ send: bytes => void writer.write(Uint8Array.from(bytes)).catch(() => undefined) })
  let end: string | undefined
  void connection.closed.then(({ reason }) => {
    end = reason
  })
  void (async () => {
    for await (const chunk of connection.stream.readable) client.push(chunk)
  })().catch(() => undefined)
  client.start()
  await waitFor(() => client.isActive || end !== undefined, { what: 'the desktop', timeoutMs: 30_000 })
  if (end !== undefined) throw new Error(`the desktop did not come up: ${end}`)
  return { session, connection, client, ended: () => end }
}
