import { generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto'
import { type Answer, badRequest, forbidden, type Members, notFound, ok } from './answers.ts'
import type { NewToken } from './tokens.ts'

/** An auth method at one mount. */
export interface AuthEngine {
  /** `path` is behind the mount; log-in needs no token, everything else an administrator's. */
  handle(method: string, path: string, input: Members): Answer | undefined
  /** The token that a log-in gives, or the refusal. */
  logIn(input: Members): NewToken | Answer
}

interface Role {
  readonly policies: readonly string[]
  readonly ttlSeconds: number
  readonly maxTtlSeconds: number
  readonly input: Members
}

interface AppRole extends Role {
  readonly roleId: string
  /** Uses that are left; Infinity without a limit. */
  readonly secretIds: Map<string, number>
}

/** AppRole, as OpenBao's `builtin/credential/approle` answers. */
export class AppRoleEngine implements AuthEngine {
  readonly #roles = new Map<string, AppRole>()

  handle(method: string, path: string, input: Members): Answer | undefined {
    const [word, name, action] = path.split('/')
    if (word !== 'role' || name === undefined) return undefined
    if (action === undefined && method === 'POST') {
      this.#roles.set(name, { ...roleOf(input), roleId: randomUUID(), secretIds: new Map() })
      return ok()
    }
    const role = this.#roles.get(name)
    if (role === undefined) return notFound()
    if (action === 'role-id' && method === 'GET') return ok({ role_id: role.roleId })
    if (action !== 'secret-id' || method !== 'POST') return undefined
    const secretId = randomUUID()
    role.secretIds.set(secretId, Number(role.input.secret_id_num_uses ?? 0) || Number.POSITIVE_INFINITY)
    return ok({ secret_id: secretId, secret_id_accessor: randomUUID(), secret_id_ttl: 0 })
  }

  logIn(input: Members): NewToken | Answer {
    const { role_id: roleId, secret_id: secretId } = input
    if (typeof roleId !== 'string' || roleId === '') return badRequest('missing role_id')
    const role = [...this.#roles.values()].find(candidate => candidate.roleId === roleId)
    if (role === undefined) return badRequest('invalid role or secret ID')
    if (typeof secretId !== 'string' || secretId === '') return badRequest('missing secret_id')
    const uses = role.secretIds.get(secretId)
    if (uses === undefined) return badRequest('invalid role or secret ID')
    if (uses === 1) role.secretIds.delete(secretId)
    else role.secretIds.set(secretId, uses - 1)
    return { ...role, path: 'approle' }
  }
}

/** Kubernetes, with this server in the part of the API server that signs and reviews service account tokens. */
export class KubernetesEngine implements AuthEngine {
  readonly #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  readonly #roles = new Map<string, Role>()

  /** The token that the kubelet would put into a pod's file. */
  serviceAccountToken(namespace: string, name: string, ttlSeconds = 3600): string {
    const payload = {
      sub: `system:serviceaccount:${namespace}:${name}`,
      exp: Math.floor(Date.now() / 1000) + ttlSeconds,
      jti: randomUUID(),
    }
    const input = [{ alg: 'ES256', typ: 'JWT' }, payload]
      .map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    const key = { key: this.#keys.privateKey, dsaEncoding: 'ieee-p1363' } as const
    return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`
  }

  handle(method: string, path: string, input: Members): Answer | undefined {
    const [word, name, ...rest] = path.split('/')
    if (word !== 'role' || name === undefined || rest.length > 0 || method !== 'POST') return undefined
    this.#roles.set(name, roleOf(input))
    return ok()
  }

  logIn(input: Members): NewToken | Answer {
    const { role: name, jwt } = input
    if (typeof name !== 'string' || name === '') return badRequest('missing role')
    if (typeof jwt !== 'string' || jwt === '') return badRequest('missing jwt')
    const role = this.#roles.get(name)
    if (role === undefined) return badRequest(`invalid role name "${name}"`)
    const subject = this.#subjectOf(jwt)
    if (subject === undefined) return forbidden()
    const [namespace = '', account = ''] = subject.split(':').slice(2)
    if (!listOf(role.input.bound_service_account_names).includes(account)) return forbidden()
    if (!listOf(role.input.bound_service_account_namespaces).includes(namespace)) return forbidden()
    return { ...role, path: 'kubernetes' }
  }

  #subjectOf(jwt: string): string | undefined {
    const [header = '', payload = '', signature = ''] = jwt.split('.')
    const key = { key: this.#keys.publicKey, dsaEncoding: 'ieee-p1363' } as const
    const isSigned = verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'))
    if (!isSigned) return undefined
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub: string; exp: number }
    return claims.exp * 1000 > Date.now() ? claims.sub : undefined
  }
}

function roleOf(input: Members): Role {
  return {
    policies: listOf(input.token_policies),
    ttlSeconds: secondsOf(input.token_ttl) || 2_764_800,
    maxTtlSeconds: secondsOf(input.token_max_ttl) || 2_764_800,
    input,
  }
}

function listOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.map(String)
  return typeof value === 'string' && value !== '' ? value.split(',').map(item => item.trim()) : []
}

/** `3`, `"3"`, `"3s"`. */
function secondsOf(value: unknown): number {
  return Number.parseInt(String(value ?? 0), 10)
}
