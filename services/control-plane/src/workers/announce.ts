import { isIP } from 'node:net'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import type { PeerIdentity } from '@rap/service-kit'
import { auditWorker } from '../audit/write.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { namesHost } from '../platform-ca/names.ts'
import { namesOf } from '../platform-ca/register.ts'
import { registeredWorker } from '../platform-ca/renew.ts'
import type { Labels } from './labels.ts'
import { findWorker, upsertWorker, type WorkerRow } from './storage.ts'

export interface AnnounceInput {
  readonly name: string | undefined
  readonly labels: Labels
  readonly publicUrl: string
  readonly version: string
}

/**
 * Takes a worker's word about itself, over mutual TLS, and binds its lease tokens to the certificate it came with.
 *
 * Where the platform CA is managed here, only a registered worker announces itself, under its registered names. Elsewhere
 * whoever issues the certificates is the register, and the first announcement makes the row.
 * Throws ProblemError ERR_WORKER_UNKNOWN, ERR_WORKER_REVOKED, ERR_WORKER_URL_INVALID.
 */
export async function announceWorker(ctx: Context, peer: PeerIdentity, input: AnnounceInput): Promise<WorkerRow> {
  const publicUrl = dataPlaneUrlOf(input.publicUrl)
  if (publicUrl === undefined) throw problems.ERR_WORKER_URL_INVALID()
  const result = await ctx.sql.begin(async tx => {
    const registered = await registeredWorker(tx, peer.id)
    if (registered?.state === 'revoked') return undefined
    if (registered !== undefined && !namesHost(namesOf(registered), new URL(publicUrl).hostname)) {
      throw problems.ERR_WORKER_URL_INVALID({
        detail: 'Its host is none of the names that are registered for the worker',
      })
    }
    const upserted = await upsertWorker(tx, {
      id: peer.id,
      // What an administrator registered counts; labels decide which desktops a worker gets.
      name: registered?.name ?? input.name ?? peer.id,
      labels: registered?.labels ?? input.labels,
      publicUrl,
      thumbprint: peer.thumbprint,
      version: input.version,
    })
    if (upserted?.made === true) {
      await auditWorker(tx, peer.id, {
        organization_id: null,
        event: 'worker_registered',
        details: { public_url: publicUrl, thumbprint: peer.thumbprint },
      })
    }
    return upserted
  })
  if (result === undefined) throw problems.ERR_WORKER_REVOKED()
  return result.worker
}

/** The worker behind a certificate. Throws ProblemError ERR_WORKER_UNKNOWN, ERR_WORKER_REVOKED. */
export async function requireActiveWorker(ctx: Pick<Context, 'sql'>, peer: PeerIdentity): Promise<WorkerRow> {
  const worker = await findWorker(ctx.sql, peer.id)
  if (worker === undefined) throw problems.ERR_WORKER_UNKNOWN()
  if (worker.state !== 'active') throw problems.ERR_WORKER_REVOKED()
  return worker
}

/** The one spelling of a worker's URL: TLS, a host, the data plane's path, and nothing else; undefined for any other. */
export function dataPlaneUrlOf(text: string): string | undefined {
  if (text.length > 512 || !URL.canParse(text)) return undefined
  const { protocol, hostname, pathname, search, hash, username, password, href } = new URL(text)
  const isPlain = search === '' && hash === '' && username === '' && password === '' && !/[?#]/.test(text)
  if (protocol !== 'wss:' || pathname !== DATA_PLANE_PATH || !isPlain) return undefined
  const isAnyAddress = hostname === '0.0.0.0' || hostname === '[::]'
  return hostname === '' || isAnyAddress || (isIP(hostname) === 0 && hostname.endsWith('.')) ? undefined : href
}
