import type { Credential, PlatformApi } from './api.ts'

/** An RDP server that the platform shall know. */
export interface PlatformTarget {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly credential: Credential
  /** How the worker checks the target's certificate, default `pinned` where there are pins, otherwise `strict`. */
  readonly verification?: 'strict' | 'platform_ca' | 'pinned' | 'insecure'
  /** SHA-256 of the leaf, with or without colons. */
  readonly certificatePins?: readonly string[]
  readonly security?: 'auto' | 'nla' | 'tls'
  readonly labels?: Readonly<Record<string, string>>
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** A resource as the API shows it. */
export interface SeededResource {
  readonly id: string
  readonly organization_id: string
  readonly name: string
  readonly address: string
  readonly secret_ref: string | null
}

/** A target for a server of this package, whose certificate is pinned. */
export function targetOf(
  server: { readonly host: string; readonly port: number; readonly certificateFingerprint: string },
  target: Omit<PlatformTarget, 'host' | 'port' | 'certificatePins'>,
): PlatformTarget {
  return { host: server.host, port: server.port, certificatePins: [server.certificateFingerprint], ...target }
}

/** Makes the resource and its secret, or brings the one with the same name up to date. */
export async function seedTarget(
  api: PlatformApi,
  organizationId: string,
  target: PlatformTarget,
): Promise<SeededResource> {
  const { certificatePins } = target
  const address = `${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`
  const body = {
    address,
    labels: target.labels ?? {},
    metadata: {
      certificate_verification_mode: target.verification ?? (certificatePins === undefined ? 'strict' : 'pinned'),
      ...(certificatePins === undefined ? {} : { certificate_pins: certificatePins }),
      security: target.security ?? 'auto',
      ...target.metadata,
    },
  }
  const existing = await findResource(api, organizationId, target.name)
  const { id, organization_id } =
    existing === undefined
      ? await api.call<SeededResource>('POST', '/v1/resources', {
          body: { ...body, name: target.name, protocol: 'rdp', organization_id: organizationId },
        })
      : await api.call<SeededResource>('PATCH', `/v1/resources/${existing.id}`, { body })
  await api.writeSecret({ id, organization_id }, target.credential)
  return api.call('GET', `/v1/resources/${id}`)
}

async function findResource(
  api: PlatformApi,
  organizationId: string,
  name: string,
): Promise<SeededResource | undefined> {
  let cursor = ''
  for (;;) {
    const query = new URLSearchParams({ organization_id: organizationId, ...(cursor === '' ? {} : { cursor }) })
    const page = await api.call<{ items: SeededResource[]; next_cursor?: string | null }>(
      'GET',
      `/v1/resources?${query}`,
    )
    const found = page.items.find(resource => resource.name === name)
    if (found !== undefined || !page.next_cursor) return found
    cursor = page.next_cursor
  }
}
