import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { type Platform, startPlatform } from '@rap/testkit'
import { accessTokenHash, jwkThumbprint } from '@rap/token-claims'
import { SignJWT } from 'jose'

const TARGET_NAME = 'bench target'

/** The real platform with one worker, and a resource whose certificate is pinned. */
export async function startBenchPlatform(maxSessions: number, onProgress: (step: string) => void): Promise<Platform> {
  return await startPlatform({
    appEnv: 'test',
    gateway: 'none',
    logLevel: 'info',
    env: {
      'rdp-worker': { RDP_WORKER_MAX_SESSIONS: String(maxSessions) },
      'control-plane': {
        SESSION_LIMIT_PER_USER: String(maxSessions),
        SESSION_LIMIT_PER_ORGANIZATION: String(maxSessions),
      },
    },
    onProgress,
  })
}

export async function addTarget(platform: Platform, port: number, pin: string): Promise<string> {
  const { id } = await platform.addTarget({
    name: TARGET_NAME,
    host: '127.0.0.1',
    port,
    credential: { username: 'bench', password: randomUUID() },
    certificatePins: [pin],
    security: 'tls',
  })
  return id
}

interface Started {
  readonly data_plane: {
    readonly token: string
    readonly candidates: readonly { readonly type: string; readonly url: string }[]
  }
}

/** Starts sessions as a client does, and gives the bind message of each. */
export class SessionStarter {
  readonly #platform: Platform
  readonly #resourceId: string
  readonly #key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  readonly #jwk = this.#key.publicKey.export({ format: 'jwk' })

  constructor(platform: Platform, resourceId: string) {
    this.#platform = platform
    this.#resourceId = resourceId
  }

  async start(): Promise<{ readonly port: number; readonly bind: string }> {
    const { kty, crv, x, y } = this.#jwk
    const jwk = { kty, crv, x, y } as { kty: string }
    const started = await this.#platform.api.call<Started>('POST', '/v1/sessions', {
      body: { resource_id: this.#resourceId, dpop_jkt: await jwkThumbprint(jwk) },
    })
    const { token, candidates } = started.data_plane
    const url = candidates.find(({ type }) => type === 'direct_worker_wss')?.url ?? ''
    const proof = await new SignJWT({
      jti: randomUUID(),
      iat: Math.floor(Date.now() / 1000),
      htm: 'GET',
      htu: url,
      ath: await accessTokenHash(token),
    })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
      .sign(this.#key.privateKey)
    const message = { type: 'bind', protocol_version: 1, runtime_transport: 'binary_v1', token, proof }
    return { port: Number(new URL(url).port), bind: JSON.stringify({ ...message, channels: ['display', 'input'] }) }
  }
}
