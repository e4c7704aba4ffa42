import { type Answer, badRequest, forbidden, type Members, ok } from './answers.ts'
import { AppRoleEngine, type AuthEngine, KubernetesEngine } from './auth-methods.ts'
import { TransitEngine } from './engine.ts'
import { allows, type Capability, DEFAULT_POLICY, type Policy, parsePolicy } from './policies.ts'
import { type Token, TokenStore } from './tokens.ts'

export interface CoreRequest {
  readonly method: string
  /** Behind `/v1/`. */
  readonly path: string
  readonly namespace: string
  readonly token: string | undefined
  readonly input: Members
}

interface Namespace {
  readonly engines: Map<string, TransitEngine>
  readonly auths: Map<string, AuthEngine>
  readonly policies: Map<string, Policy>
}

/** Mounts, policies, tokens and the seal of the contract server: what is asked of them, in the order of the real one. */
export class TransitCore {
  readonly tokens: TokenStore
  readonly rootToken: Token
  readonly #namespaces = new Map<string, Namespace>()
  isSealed = false

  constructor(now: () => number, namespaces: readonly string[]) {
    this.tokens = new TokenStore(now)
    this.rootToken = this.tokens.make({ policies: ['root'], path: 'root' })
    for (const name of ['', ...namespaces]) {
      this.#namespaces.set(name, { engines: new Map(), auths: new Map(), policies: new Map() })
    }
  }

  handle(request: CoreRequest): Answer {
    const bare = { initialized: true, sealed: this.isSealed }
    if (request.path === 'sys/health') return { status: this.isSealed ? 503 : 200, bare: { ...bare, standby: false } }
    if (request.path === 'sys/seal-status') return { status: 200, bare: { ...bare, type: 'shamir', t: 1, n: 1 } }
    if (this.isSealed) return { status: 503, errors: ['Vault is sealed'] }
    const namespace = this.#namespaces.get(request.namespace)
    if (namespace === undefined) return { status: 404, errors: ['namespace not found'] }
    const logIn = /^auth\/(.+)\/login$/.exec(request.path)?.[1]
    const auth = logIn === undefined ? undefined : namespace.auths.get(logIn)
    if (auth !== undefined) return this.#logIn(auth, request)
    const token = request.token === undefined ? undefined : this.tokens.find(request.token, request.namespace)
    if (token === undefined) return forbidden()
    if (!this.#isAllowed(token, request, namespace)) return forbidden()
    return (
      this.#answer(token, request, namespace) ?? {
        status: 404,
        errors: [`no handler for route "${request.path}". route entry not found.`],
      }
    )
  }

  /** The auth method at a mount of the root namespace. */
  authAt(mount: string): AuthEngine | undefined {
    return this.#namespaces.get('')?.auths.get(mount)
  }

  engineAt(mount: string): TransitEngine | undefined {
    return this.#namespaces.get('')?.engines.get(mount)
  }

  #logIn(auth: AuthEngine, { method, input, namespace }: CoreRequest): Answer {
    if (method !== 'POST' && method !== 'PUT') return { status: 405, errors: ['unsupported operation'] }
    const result = auth.logIn(input)
    if ('status' in result) return result
    return { status: 200, auth: this.tokens.authOf(this.tokens.make({ ...result, namespace })) }
  }

  #isAllowed(token: Token, { method, path }: CoreRequest, namespace: Namespace): boolean {
    if (token.policies.includes('root')) return true
    const policies = token.policies.map(name => namespace.policies.get(name) ?? [])
    return allows([DEFAULT_POLICY, ...policies], path, this.#capabilityOf(method, path, namespace))
  }

  #capabilityOf(method: string, path: string, namespace: Namespace): Capability {
    if (method === 'GET') return 'read'
    if (method === 'DELETE') return 'delete'
    const mount = mountOf(namespace.engines, path)
    const inner = mount === undefined ? '' : path.slice(mount.length + 1)
    // The real engine has an existence check for these two alone.
    const makes = /^(encrypt|keys)\/[^/]+$/.test(inner) && namespace.engines.get(mount ?? '')?.exists(inner) === false
    return makes && inner.startsWith('encrypt/') ? 'create' : 'update'
  }

  #answer(token: Token, request: CoreRequest, namespace: Namespace): Answer | undefined {
    const { method, path, input } = request
    if (path.startsWith('sys/')) return this.#system(method, path.slice(4), input, namespace)
    if (path.startsWith('auth/token/')) return this.#tokenRequest(token, method, path.slice(11))
    if (path.startsWith('auth/')) {
      const mount = mountOf(namespace.auths, path.slice(5))
      const inner = path.slice(6 + (mount ?? '').length)
      return mount === undefined ? undefined : namespace.auths.get(mount)?.handle(method, inner, input)
    }
    const mount = mountOf(namespace.engines, path)
    return mount === undefined
      ? undefined
      : namespace.engines.get(mount)?.handle(method, path.slice(mount.length + 1), input)
  }

  #tokenRequest(token: Token, method: string, path: string): Answer | undefined {
    if (path === 'lookup-self' && method === 'GET') return ok(this.tokens.describe(token))
    if (path === 'renew-self' && method !== 'GET') {
      return this.tokens.renew(token)
        ? { status: 200, auth: this.tokens.authOf(token) }
        : badRequest('lease is not renewable')
    }
    return undefined
  }

  #system(method: string, path: string, input: Members, namespace: Namespace): Answer | undefined {
    const [area, ...rest] = path.split('/')
    const name = rest.join('/')
    if (area === 'mounts' && name !== '') return this.#mount(method, name, input, namespace)
    if (area === 'auth' && name !== '') return this.#enableAuth(method, name, input, namespace)
    if (area === 'policies' && rest[0] === 'acl' && rest[1] !== undefined && method !== 'GET') {
      const policy = typeof input.policy === 'string' ? parsePolicy(input.policy) : undefined
      if (policy === undefined) return badRequest('failed to parse policy')
      namespace.policies.set(rest[1], policy)
      return ok()
    }
    return undefined
  }

  #mount(method: string, name: string, input: Members, { engines }: Namespace): Answer {
    if (method === 'DELETE') engines.delete(name)
    else if (input.type !== 'transit') return badRequest('plugin not found in the catalog')
    else if (engines.has(name)) return badRequest(`path is already in use at ${name}/`)
    else engines.set(name, new TransitEngine())
    return ok()
  }

  #enableAuth(method: string, name: string, input: Members, { auths }: Namespace): Answer {
    if (method === 'DELETE') auths.delete(name)
    else if (auths.has(name)) return badRequest(`path is already in use at ${name}/`)
    else if (input.type === 'approle') auths.set(name, new AppRoleEngine())
    else if (input.type === 'kubernetes') auths.set(name, new KubernetesEngine())
    else return badRequest('plugin not found in the catalog')
    return ok()
  }
}

function mountOf(mounts: ReadonlyMap<string, unknown>, path: string): string | undefined {
  return [...mounts.keys()].find(mount => path.startsWith(`${mount}/`))
}
