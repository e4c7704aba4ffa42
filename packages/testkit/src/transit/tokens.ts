import { randomBytes } from 'node:crypto'
import type { Members } from './answers.ts'

export interface Token {
  readonly id: string
  readonly accessor: string
  /** Namespace that it was made in; it is good there and below. */
  readonly namespace: string
  readonly policies: readonly string[]
  readonly createdAt: number
  /** 0 for a token that does not end. */
  readonly ttlSeconds: number
  /** Renewal reaches at most this far; 0 for any. */
  readonly maxTtlSeconds: number
  readonly isRenewable: boolean
  readonly path: string
  expiresAt: number
  /** Whole seconds that the last log-in or renewal gave. */
  grantedSeconds: number
}

export interface NewToken {
  readonly policies: readonly string[]
  readonly ttlSeconds?: number
  readonly maxTtlSeconds?: number
  readonly isRenewable?: boolean
  readonly namespace?: string
  readonly path?: string
}

/** The tokens of a server; time is the given clock's, in milliseconds. */
export class TokenStore {
  readonly #tokens = new Map<string, Token>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  make({
    policies,
    ttlSeconds = 0,
    maxTtlSeconds = 0,
    isRenewable = true,
    namespace = '',
    path = '',
  }: NewToken): Token {
    const createdAt = this.#now()
    const token: Token = {
      id: `hvs.${randomBytes(24).toString('base64url')}`,
      accessor: randomBytes(18).toString('base64url'),
      namespace,
      policies,
      createdAt,
      ttlSeconds,
      maxTtlSeconds,
      isRenewable: isRenewable && ttlSeconds > 0,
      path,
      expiresAt: ttlSeconds === 0 ? Number.POSITIVE_INFINITY : createdAt + ttlSeconds * 1000,
      grantedSeconds: ttlSeconds,
    }
    this.#tokens.set(token.id, token)
    return token
  }

  /** A token that is there, has not ended and is good in this namespace. */
  find(id: string, namespace: string): Token | undefined {
    const token = this.#tokens.get(id)
    if (token === undefined || token.expiresAt <= this.#now()) return undefined
    return token.namespace === '' || `${namespace}/`.startsWith(`${token.namespace}/`) ? token : undefined
  }

  /** False for a token that cannot be renewed. */
  renew(token: Token): boolean {
    if (!token.isRenewable) return false
    const end = token.maxTtlSeconds === 0 ? Number.POSITIVE_INFINITY : token.createdAt + token.maxTtlSeconds * 1000
    token.expiresAt = Math.min(this.#now() + token.ttlSeconds * 1000, end)
    token.grantedSeconds = Math.floor((token.expiresAt - this.#now()) / 1000)
    return true
  }

  revokeAll(): void {
    for (const token of this.#tokens.values()) if (!token.policies.includes('root')) this.#tokens.delete(token.id)
  }

  /** Whole seconds that a token still has. */
  left(token: Token): number {
    return Number.isFinite(token.expiresAt) ? Math.max(0, Math.floor((token.expiresAt - this.#now()) / 1000)) : 0
  }

  /** `auth` of a log-in or a renewal. */
  authOf(token: Token): Members {
    return {
      client_token: token.id,
      accessor: token.accessor,
      policies: token.policies,
      token_policies: token.policies,
      metadata: {},
      lease_duration: token.grantedSeconds,
      renewable: token.isRenewable,
      entity_id: '',
      token_type: 'service',
      orphan: true,
    }
  }

  /** `data` of lookup-self. */
  describe(token: Token): Members {
    const ends = Number.isFinite(token.expiresAt)
    return {
      accessor: token.accessor,
      creation_time: Math.floor(token.createdAt / 1000),
      creation_ttl: token.ttlSeconds,
      display_name: token.path,
      entity_id: '',
      expire_time: ends ? new Date(token.expiresAt).toISOString() : null,
      explicit_max_ttl: token.maxTtlSeconds,
      id: token.id,
      meta: null,
      num_uses: 0,
      orphan: true,
      path: token.path,
      policies: token.policies,
      // A root token has no such member.
      ...(ends && { renewable: token.isRenewable }),
      ttl: this.left(token),
      type: 'service',
    }
  }
}
