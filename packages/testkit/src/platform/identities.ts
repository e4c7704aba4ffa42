import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Authority } from '@rap/pki'
import { runCommand } from '../run-command.ts'
import type { PlatformApi } from './api.ts'
import type { ServiceEnv } from './service.ts'
import { openAuthority, SERVICES, writePlatformCertificate } from './state.ts'

/** A service or worker that is about to start. */
export interface Member {
  readonly kind: 'service' | 'worker'
  readonly id: string
  /** What administrators see; the id when absent. */
  readonly name?: string
}

/** Where the parts of one platform have their certificates from. */
export interface Identities {
  /** The certificates that clients of the platform trust now, and their key where a test may have it. */
  readonly authority: Authority
  /** The same certificates in a file. */
  readonly caFile: string
  /** What the control plane is started with. `env` is the rest of its environment. */
  ofControlPlane(env: ServiceEnv): Promise<ServiceEnv>
  /** What another part is started with; the control plane runs, and `api` is logged in, where `needsControlPlane`. */
  of(member: Member, api: PlatformApi | undefined): Promise<ServiceEnv>
  readonly needsControlPlane: boolean
}

/** Names on this machine, beside its own in the platform's domain. */
const ADDRESSES = ['127.0.0.1', '::1']
const namesOf = (id: string): string[] => ['localhost', `${id}.rap.internal`]

/** Certificates in files, written by a test authority. */
export async function fileIdentities(dir: string): Promise<Identities> {
  const { authority, caFile } = await openAuthority(dir)
  const of = async ({ kind, id }: Member): Promise<ServiceEnv> => {
    const { certFile, keyFile } = await writePlatformCertificate(join(dir, 'tls'), authority, {
      kind,
      id,
      dnsNames: [`${id}.rap.internal`],
    })
    return {
      RAP_PLATFORM_CA_FILE: caFile,
      RAP_TLS_CERT_FILE: certFile,
      RAP_TLS_KEY_FILE: keyFile,
      ...(kind === 'worker' && {
        RDP_WORKER_ID: id,
        RDP_WORKER_DATA_PLANE_TLS_CERT_FILE: certFile,
        RDP_WORKER_DATA_PLANE_TLS_KEY_FILE: keyFile,
      }),
    }
  }
  const ofControlPlane = () => of({ kind: 'service', id: 'control-plane' })
  return { authority, caFile, ofControlPlane, of, needsControlPlane: false }
}

/**
 * The platform CA of the control plane itself: `rap-pki init`, and a join token for everybody else.
 *
 * What was enrolled before is found again in `dir`. INVARIANT: the key of no certificate leaves the process that made it.
 */
export function enrolledIdentities(dir: string, urls: { readonly api: string; readonly internal: string }): Identities {
  const folder = join(dir, 'identities')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const firstBundle = join(folder, 'first-bundle.pem')
  // The resolver's copy is always there, and it follows a rotation.
  const followed = join(folder, 'secret-resolver', 'trust-bundle.pem')
  return {
    needsControlPlane: true,
    caFile: followed,
    authority: {
      get certificatePem() {
        return readFileSync(existsSync(followed) ? followed : firstBundle, 'utf8')
      },
      keyPem: '',
    },
    async ofControlPlane(env) {
      if (!existsSync(firstBundle)) await rapPki(['init'], env)
      await rapPki(['bundle', '--out', firstBundle], env)
      return { CONTROL_PLANE_NAMES: ['control-plane.rap.internal', 'localhost', ...ADDRESSES].join(',') }
    },
    async of(member, api) {
      const own = join(folder, member.id)
      const tokenFile = `${own}.join-token`
      if (api !== undefined && !isInForce(join(own, 'identity.pem'))) {
        writeFileSync(tokenFile, `${await joinToken(api, member)}\n`, { mode: 0o600 })
      }
      return {
        RAP_IDENTITY_DIR: own,
        RAP_JOIN_TOKEN_FILE: tokenFile,
        CONTROL_PLANE_URL: urls.api,
        CONTROL_PLANE_INTERNAL_URL: urls.internal,
      }
    },
  }
}

async function joinToken(api: PlatformApi, { kind, id, name = id }: Member): Promise<string> {
  const names = { dns_names: namesOf(id), ip_addresses: ADDRESSES }
  const { join_token } =
    kind === 'worker'
      ? await api.call<{ join_token: string }>('POST', '/v1/workers/join-tokens', {
          body: { name, worker_id: id, ...names },
        })
      : await api.call<{ join_token: string }>('POST', '/v1/services/join-tokens', { body: { service: id, ...names } })
  return join_token
}

function isInForce(identityFile: string): boolean {
  if (!existsSync(identityFile)) return false
  const pem = readFileSync(identityFile, 'utf8')
  return Date.now() < new X509Certificate(pem.slice(pem.indexOf('-----BEGIN CERTIFICATE'))).validToDate.getTime()
}

async function rapPki(args: readonly string[], env: ServiceEnv): Promise<void> {
  const program = join(SERVICES, 'control-plane/src/cli/main.ts')
  await runCommand(process.execPath, [program, ...args], { name: `rap-pki ${args[0]}`, env })
}
