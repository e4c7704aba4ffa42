import { createAuthority, issueCertificate, spiffeId } from '@rap/pki'
import type { Test } from 'tap'
import {
  buildServer,
  createLogger,
  type Logger,
  type RapServer,
  type ServerOptions,
  type TlsMaterial,
} from '../src/index.ts'

export const TRUST_DOMAIN = 'rap.test'

export interface CapturedLog {
  readonly logger: Logger
  /** Every line so far, parsed. */
  readonly lines: () => Record<string, unknown>[]
  /** Every byte so far. */
  readonly text: () => string
}

/** A real logger whose lines stay in memory. */
export function capturedLog(fields: readonly string[] = [], level = 'trace'): CapturedLog {
  let text = ''
  const destination = {
    write(line: string) {
      text += line
    },
  }
  return {
    logger: createLogger({ service: 'test', level, fields, destination }),
    lines: () =>
      text
        .split('\n')
        .filter(line => line !== '')
        .map(line => JSON.parse(line)),
    text: () => text,
  }
}

export const silentLogger = createLogger({ service: 'test', level: 'silent' })

export interface Platform {
  readonly caPem: string
  /** TLS material of `service/<name>` or `worker/<id>`, for localhost, with the trust bundle. */
  readonly issue: (identity: string, options?: IssueOptions) => Promise<TlsMaterial & { ca: string; cert: string }>
}

interface IssueOptions {
  trustDomain?: string
  /** URI SANs in place of the SPIFFE ID. */
  uris?: string[]
  dnsNames?: string[]
  notAfter?: Date
  usages?: ('server' | 'client')[]
}

/** A platform CA of its own for one test. */
export async function platform(): Promise<Platform> {
  const authority = await createAuthority({ name: 'test platform CA', days: 1, now: new Date() })
  return {
    caPem: authority.certificatePem,
    issue: async (identity, options = {}) => {
      const [kind, id] = identity.split('/') as ['service' | 'worker', string]
      const uri = spiffeId(options.trustDomain ?? TRUST_DOMAIN, kind, id)
      const { certificatePem, keyPem } = await issueCertificate({
        authority,
        commonName: id,
        usages: options.usages ?? ['server', 'client'],
        now: new Date(),
        uris: options.uris ?? [uri],
        dnsNames: options.dnsNames ?? ['localhost'],
        ...(options.notAfter !== undefined && { notAfter: options.notAfter }),
      })
      return { cert: certificatePem, key: keyPem, ca: authority.certificatePem }
    },
  }
}

/** A server that is closed at the end of the test. */
export async function build(t: Test, options: Partial<ServerOptions> = {}): Promise<RapServer> {
  const app = await buildServer({ service: 'test', logger: silentLogger, ...options })
  t.teardown(() => app.close())
  return app
}

/** Listens on a free port of localhost and answers the origin. */
export async function listen(app: RapServer): Promise<{ url: string; port: number }> {
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const { protocol, port } = new URL(address)
  return { url: `${protocol}//localhost:${port}`, port: Number(port) }
}
