import { CHANNELS, PolicyDocument, SessionLimits } from '@rap/session-policy'
import { type Static, Type } from '@sinclair/typebox'
import type { Account } from './account.ts'
import { buildPath } from './http.ts'
import { Id, Name, nullable, type Page, Time } from './model.ts'
import { type PageOptions, page } from './page.ts'
import { checked } from './shape.ts'

const stored = {
  document: PolicyDocument,
  /** 0 where there is none. */
  version: Type.Integer({ minimum: 0 }),
  updated_at: nullable(Time),
  /** User id. */
  updated_by: nullable(Id),
}
/** Live sessions that the change reached. */
const change = Type.Object({ sessions_changed: Type.Integer({ minimum: 0 }) })

/** What an organization, a resource or a grant says; an empty document where it says nothing. */
export const Policy = Type.Object(stored)
export type Policy = Static<typeof Policy>
const PolicyChange = Type.Composite([Policy, change])
export type PolicyChange = Static<typeof PolicyChange>

/** What one member may do on one resource, where that is less than everybody may. */
export const Grant = Type.Object({
  user_id: Id,
  email: Type.String({ maxLength: 320 }),
  display_name: Name,
  ...stored,
})
export type Grant = Static<typeof Grant>
const GrantPage = page(Grant)

const DecidedBy = Type.Union(
  (['default', 'organization', 'resource', 'grant'] as const).map(scope => Type.Literal(scope)),
)
const ChannelDecision = Type.Object({ allowed: Type.Boolean(), decided_by: DecidedBy })

/** What one member may do on one resource, with who decided each part. */
export const EffectivePolicyAnswer = Type.Object({
  resource_id: Id,
  user_id: Id,
  channels: Type.Object(
    Object.fromEntries(CHANNELS.map(name => [name, ChannelDecision])) as Record<
      (typeof CHANNELS)[number],
      typeof ChannelDecision
    >,
  ),
  limits: Type.Mapped(Type.KeyOf(SessionLimits), name =>
    Type.Object({ value: Type.Index(SessionLimits, name), decided_by: DecidedBy }),
  ),
})
export type EffectivePolicyAnswer = Static<typeof EffectivePolicyAnswer>

export interface PolicyChangeOptions {
  /** The version that was read; another one in force is refused with ERR_POLICY_CHANGED, and nothing is changed. */
  readonly version?: number
}

/** The policy of one organization or one resource. A change reaches live sessions within two seconds. */
export class StoredPolicy {
  readonly #account: Account
  readonly #path: string

  constructor(account: Account, path: string) {
    this.#account = account
    this.#path = path
  }

  async get(): Promise<Policy> {
    const { body } = await this.#account.call({ method: 'GET', path: this.#path })
    return checked(Policy, body, 'a policy')
  }

  async put(document: PolicyDocument, { version }: PolicyChangeOptions = {}): Promise<PolicyChange> {
    return await putPolicy(this.#account, this.#path, { document, version })
  }

  async delete({ version }: PolicyChangeOptions = {}): Promise<PolicyChange> {
    return await deletePolicy(this.#account, this.#path, version)
  }
}

/** The grants of one resource. A grant only narrows; without one a member may do what everybody may. */
export class Grants {
  readonly #account: Account
  readonly #resourceId: string

  constructor(account: Account, resourceId: string) {
    this.#account = account
    this.#resourceId = resourceId
  }

  async list({ cursor, limit }: PageOptions = {}): Promise<Page<Grant>> {
    const path = buildPath('/v1/resources', [this.#resourceId, 'grants'], { cursor, limit })
    const { body } = await this.#account.call({ method: 'GET', path })
    return checked(GrantPage, body, 'a page of grants')
  }

  async put(userId: string, document: PolicyDocument, { version }: PolicyChangeOptions = {}): Promise<PolicyChange> {
    return await putPolicy(this.#account, this.#pathOf(userId), { document, version })
  }

  async delete(userId: string, { version }: PolicyChangeOptions = {}): Promise<PolicyChange> {
    return await deletePolicy(this.#account, this.#pathOf(userId), version)
  }

  #pathOf(userId: string): string {
    return buildPath('/v1/resources', [this.#resourceId, 'grants', userId])
  }
}

/** Policies of organizations, resources and grants, and what they come to. */
export class Policies {
  readonly #account: Account

  constructor(account: Account) {
    this.#account = account
  }

  organization(organizationId: string): StoredPolicy {
    return new StoredPolicy(this.#account, buildPath('/v1/organizations', [organizationId, 'policy']))
  }

  resource(resourceId: string): StoredPolicy {
    return new StoredPolicy(this.#account, buildPath('/v1/resources', [resourceId, 'policy']))
  }

  grants(resourceId: string): Grants {
    return new Grants(this.#account, resourceId)
  }

  /** What I, or another member, may do on a resource, and which policy decided it; `explainChannel` has the words. */
  async effective(resourceId: string, { userId }: { userId?: string } = {}): Promise<EffectivePolicyAnswer> {
    const path = buildPath('/v1/resources', [resourceId, 'effective-policy'], { user_id: userId })
    const { body } = await this.#account.call({ method: 'GET', path })
    return checked(EffectivePolicyAnswer, body, 'a policy in force')
  }
}

async function putPolicy(
  account: Account,
  path: string,
  { document, version }: { document: PolicyDocument; version: number | undefined },
): Promise<PolicyChange> {
  const { body } = await account.call({
    method: 'PUT',
    path,
    body: { document, ...(version !== undefined && { version }) },
  })
  return checked(PolicyChange, body, 'a changed policy')
}

async function deletePolicy(account: Account, path: string, version: number | undefined): Promise<PolicyChange> {
  const query = version === undefined ? '' : `?version=${version}`
  const { body } = await account.call({ method: 'DELETE', path: `${path}${query}` })
  return checked(PolicyChange, body, 'a changed policy')
}
