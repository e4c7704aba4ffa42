import type { Account } from './account.ts'
import type { RapError } from './errors.ts'
import { buildPath } from './http.ts'
import {
  Member,
  Organization,
  type Page,
  Resource,
  SecretHistory,
  SecretMetadata,
  type SecretVersion,
} from './model.ts'
import { type PageOptions, page } from './page.ts'
import { type ResourceSecret, sealSecret } from './sealing.ts'
import { checked } from './shape.ts'
import { TargetIdentities } from './target-identity.ts'

export interface ResourceFilter extends PageOptions {
  readonly organizationId?: string
}

export interface NewResource {
  readonly organizationId: string
  readonly name: string
  readonly protocol?: 'rdp'
  /** `host:port` of the target. */
  readonly address: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly labels?: Readonly<Record<string, string>>
}

export type ResourceChange = Partial<Omit<NewResource, 'organizationId' | 'protocol'>>

const ResourcePage = page(Resource)
const OrganizationPage = page(Organization)
const MemberPage = page(Member)

/** `/v1/organizations`. */
export class Organizations {
  readonly #account: Account

  constructor(account: Account) {
    this.#account = account
  }

  async list({ cursor, limit }: PageOptions = {}): Promise<Page<Organization>> {
    const { body } = await this.#account.call({
      method: 'GET',
      path: buildPath('/v1/organizations', [], { cursor, limit }),
    })
    return checked(OrganizationPage, body, 'a page of organizations')
  }

  async get(id: string): Promise<Organization> {
    const { body } = await this.#account.call({ method: 'GET', path: buildPath('/v1/organizations', [id]) })
    return checked(Organization, body, 'an organization')
  }

  async listMembers(id: string, { cursor, limit }: PageOptions = {}): Promise<Page<Member>> {
    const { body } = await this.#account.call({
      method: 'GET',
      path: buildPath('/v1/organizations', [id, 'members'], { cursor, limit }),
    })
    return checked(MemberPage, body, 'a page of members')
  }
}

/** `/v1/resources` and their secrets. A secret is written from here and never read back. */
export class Resources {
  /** What the machine behind a resource shows, and what is approved of it. */
  readonly targetIdentity: TargetIdentities
  readonly #account: Account

  constructor(account: Account) {
    this.#account = account
    this.targetIdentity = new TargetIdentities(account)
  }

  async list({ organizationId, cursor, limit }: ResourceFilter = {}): Promise<Page<Resource>> {
    const path = buildPath('/v1/resources', [], { organization_id: organizationId, cursor, limit })
    const { body } = await this.#account.call({ method: 'GET', path })
    return checked(ResourcePage, body, 'a page of resources')
  }

  async get(id: string): Promise<Resource> {
    const { body } = await this.#account.call({ method: 'GET', path: buildPath('/v1/resources', [id]) })
    return checked(Resource, body, 'a resource')
  }

  async create({ organizationId, protocol = 'rdp', ...resource }: NewResource): Promise<Resource> {
    const { body } = await this.#account.call({
      method: 'POST',
      path: '/v1/resources',
      body: { organization_id: organizationId, protocol, ...resource },
    })
    return checked(Resource, body, 'a resource')
  }

  /** Changes what `change` names; metadata is merged (RFC 7396: null takes a member away), labels are replaced. */
  async update(id: string, change: ResourceChange): Promise<Resource> {
    const { body } = await this.#account.call({ method: 'PATCH', path: buildPath('/v1/resources', [id]), body: change })
    return checked(Resource, body, 'a resource')
  }

  async delete(id: string): Promise<void> {
    await this.#account.call({ method: 'DELETE', path: buildPath('/v1/resources', [id]) })
  }

  /**
   * Seals the credential to the resolver's key, here, and hands it in; the server passes on bytes that it cannot open.
   * `expectedVersion` is the version it replaces, 0 for none: another one on the server is refused with
   * ERR_SECRET_VERSION_CONFLICT.
   */
  async setSecret(
    id: string,
    secret: ResourceSecret,
    { expectedVersion }: { expectedVersion?: number } = {},
  ): Promise<SecretMetadata> {
    const { organization_id: organizationId } = await this.get(id)
    const write = async () => {
      const { body: sealingKey } = await this.#account.call({ method: 'GET', path: '/v1/secret-sealing-key' })
      const sealed = await sealSecret(sealingKey, { organizationId, resourceId: id }, secret)
      return await this.#account.call({
        method: 'PUT',
        path: buildPath('/v1/resources', [id, 'secret']),
        body: { sealed, ...(expectedVersion !== undefined && { expected_version: expectedVersion }) },
      })
    }
    const { body } = await write().catch(async (error: unknown) => {
      // The key was replaced between the two calls.
      if ((error as RapError).code === 'ERR_SEALING_KEY_UNKNOWN') return await write()
      throw error
    })
    return checked(SecretMetadata, body, 'secret metadata')
  }

  async getSecretMetadata(id: string): Promise<SecretMetadata> {
    const { body } = await this.#account.call({ method: 'GET', path: buildPath('/v1/resources', [id, 'secret']) })
    return checked(SecretMetadata, body, 'secret metadata')
  }

  /** The history of the secret, the newest version first; empty where there never was one. */
  async listSecretVersions(id: string): Promise<SecretVersion[]> {
    const path = buildPath('/v1/resources', [id, 'secret', 'versions'])
    const { body } = await this.#account.call({ method: 'GET', path })
    return checked(SecretHistory, body, 'the history of a secret').items
  }

  /**
   * Puts the content of an older version in force again, as a new version; nobody sees the content.
   *
   * `expectedVersion` is the version in force that was seen. It makes a repeated call safe: the second one is refused with
   * ERR_SECRET_VERSION_CONFLICT and `currentVersion`. ERR_SECRET_VERSION_NOT_FOUND for a version that never was, is in force
   * or is destroyed.
   */
  async rollbackSecret(
    id: string,
    toVersion: number,
    { expectedVersion }: { expectedVersion?: number } = {},
  ): Promise<SecretMetadata> {
    const { body } = await this.#account.call({
      method: 'POST',
      path: buildPath('/v1/resources', [id, 'secret', 'rollback']),
      body: { to_version: toVersion, ...(expectedVersion !== undefined && { expected_version: expectedVersion }) },
    })
    return checked(SecretMetadata, body, 'secret metadata')
  }

  async deleteSecret(id: string, { expectedVersion }: { expectedVersion?: number } = {}): Promise<void> {
    const path = buildPath('/v1/resources', [id, 'secret'], { expected_version: expectedVersion })
    await this.#account.call({ method: 'DELETE', path })
  }
}
