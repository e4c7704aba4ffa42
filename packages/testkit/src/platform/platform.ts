import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Authority } from '@rap/pki'
import { freePort } from '../free-port.ts'
import { type PostgresServer, startPostgres } from '../postgres.ts'
import { dumpDatabase } from '../postgres-dump.ts'
import { startRedis } from '../redis.ts'
import { tempDir } from '../temp-dir.ts'
import { waitFor } from '../wait-for.ts'
import { PlatformApi } from './api.ts'
import { type DatabaseUrls, prepareDatabase } from './database.ts'
import {
  type Addresses,
  controlPlaneEnv,
  gatewayEnv,
  gatewayUrl,
  secretResolverEnv,
  type Wiring,
  workerEnv,
  workerUrl,
} from './environments.ts'
import { enrolledIdentities, fileIdentities } from './identities.ts'
import type { PlatformOptions } from './options.ts'
import { type PlatformTarget, type SeededResource, seedTarget } from './seed.ts'
import { type Service, startService } from './service.ts'
import { openState } from './state.ts'

export interface PlatformWorker extends Service {
  readonly id: string
  /** Its data plane, for clients. */
  readonly url: string
}

export interface Platform {
  /** Public API and portal. */
  readonly apiUrl: string
  /** The internal API of the control plane (mutual TLS). */
  readonly internalUrl: string
  readonly resolverUrl: string
  /** The gateway's data plane, for clients; absent without a gateway. */
  readonly gatewayUrl: string | undefined
  /** With `enrolled` identities: the trust bundle of the moment, and no key. */
  readonly authority: Authority
  /** The certificates of `authority` in a file. */
  readonly caFile: string
  readonly admin: { readonly email: string; readonly password: string }
  readonly organizationId: string
  /** The API, logged in as the administrator. */
  readonly api: PlatformApi
  /** In the order of the `targets` option. */
  readonly resources: readonly SeededResource[]
  readonly databaseUrls: DatabaseUrls
  readonly redisUrl: string
  readonly controlPlane: Service
  readonly secretResolver: Service
  readonly gateway: Service | undefined
  readonly workers: readonly PlatformWorker[]
  /** Makes a resource with its secret, or brings the one of this name up to date. */
  addTarget(target: PlatformTarget): Promise<SeededResource>
  /** Starts one more worker and waits until it takes sessions. */
  addWorker(): Promise<PlatformWorker>
  /** Everything that the services, Postgres and Redis wrote to their logs. */
  logs(): string
  /** The whole database as text. */
  dumpDatabase(): Promise<string>
  /** Empties Redis by restarting it, which loses no truth; absent where the Redis is not its own. */
  restartRedis: (() => Promise<void>) | undefined
  stop(): Promise<void>
}

const DATABASE_NAME = 'rap'

/**
 * The whole platform as real processes on this machine: a platform CA, Postgres, Redis and the four services, with an
 * organization, an administrator, and a resource with its secret for every target.
 *
 * Everything listens on loopback. INVARIANT: after `stop`, after a failed start and after the end of this process,
 * none of these processes is left.
 */
export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const progress = options.onProgress ?? (() => {})
  const scratch = options.dir === undefined ? tempDir('rap-platform-') : undefined
  const dir = options.dir ?? scratch?.path ?? ''
  const logDir = join(dir, 'logs')
  const stops: (() => Promise<unknown>)[] = []
  const stop = async () => {
    for (const part of stops.reverse().splice(0)) await part()
    scratch?.remove()
  }
  try {
    const state = openState(dir)
    mkdirSync(logDir, { recursive: true })

    progress('Postgres and Redis')
    const [postgres, redis] = await Promise.all([ownPostgres(options, dir), ownRedis(options, dir)])
    if (redis.stop !== undefined) stops.push(redis.stop)
    if (postgres !== undefined) stops.push(() => postgres.stop())
    const databaseUrls = await databaseOf(options, postgres)

    const addresses = await chooseAddresses(options)
    const logLevel = options.logLevel ?? 'debug'
    const wiring: Wiring = { options, state, addresses, redisUrl: redis.url, logLevel }

    const identities =
      options.identities === 'enrolled' ? enrolledIdentities(dir, addresses) : await fileIdentities(dir)
    const run = async (service: Parameters<typeof startService>[0]) => {
      const started = await startService(service)
      stops.push(() => started.stop())
      return started
    }
    const admin = { email: options.adminEmail ?? 'admin@rap.example', password: state.adminPassword }
    const startControlPlane = async () => {
      const env = controlPlaneEnv(wiring, databaseUrls.controlPlane)
      return await run({
        service: 'control-plane',
        logDir,
        env: { ...(await identities.ofControlPlane(env)), ...env },
      })
    }
    const openApi = async () => {
      const opened = new PlatformApi(addresses.api, () => identities.authority.certificatePem)
      stops.push(async () => opened.close())
      await opened.login(admin.email, admin.password)
      return opened
    }
    const startOthers = (api: PlatformApi | undefined) => {
      const identityOf = (id: string) => identities.of({ kind: 'service', id }, api)
      return allStarted([
        identityOf('secret-resolver').then(identity =>
          run({
            service: 'secret-resolver',
            logDir,
            env: secretResolverEnv(wiring, identity, databaseUrls.secretResolver),
          }),
        ),
        addresses.gateway === undefined
          ? undefined
          : identityOf('gateway').then(identity =>
              run({ service: 'gateway', logDir, env: gatewayEnv(wiring, identity) }),
            ),
      ])
    }
    progress('control-plane, secret-resolver and gateway')
    // Who enrols needs a control plane that is up; everybody else starts beside it.
    const early = identities.needsControlPlane ? undefined : startOthers(undefined)
    const [controlPlane] = await allStarted([startControlPlane(), early])
    const api = await openApi()
    const [secretResolver, gateway] = await (early ?? startOthers(api))

    const workers: PlatformWorker[] = []
    const addWorker = async () => {
      const index = workers.length
      const id = state.workerId(index)
      const port = (index === 0 ? options.ports?.['rdp-worker'] : undefined) ?? (await freePort())
      const identity = await identities.of({ kind: 'worker', id, name: `worker-${index + 1}` }, api)
      const service = await run({
        service: 'rdp-worker',
        name: `rdp-worker-${index}`,
        logDir,
        env: workerEnv(wiring, identity, port),
      })
      const worker: PlatformWorker = Object.assign(service, { id, url: workerUrl(port) })
      workers.push(worker)
      await waitFor(() => isAlive(api, id), { what: `worker ${index} to take sessions`, timeoutMs: 30_000 })
      return worker
    }
    progress('rdp-worker')
    for (let index = 0; index < (options.workers ?? 1); index++) await addWorker()

    progress('organization, resources and secrets')
    const me = await api.call<{ memberships: { organization_id: string }[] }>('GET', '/v1/me')
    const organizationId = me.memberships[0]?.organization_id ?? ''
    if (options.policy !== undefined) {
      await api.call('PUT', `/v1/organizations/${organizationId}/policy`, { body: { document: options.policy } })
    }
    const resources: SeededResource[] = []
    const addTarget = (target: PlatformTarget) => seedTarget(api, organizationId, target)
    for (const target of options.targets ?? []) resources.push(await addTarget(target))

    return {
      apiUrl: addresses.api,
      internalUrl: addresses.internal,
      resolverUrl: addresses.resolver,
      gatewayUrl: addresses.gateway,
      authority: identities.authority,
      caFile: identities.caFile,
      admin,
      organizationId,
      api,
      resources,
      databaseUrls,
      redisUrl: redis.url,
      controlPlane,
      secretResolver,
      gateway,
      workers,
      addTarget,
      addWorker,
      logs: () => {
        const services = [controlPlane, secretResolver, gateway, ...workers].map(service => service?.log() ?? '')
        return [...services, postgres?.log() ?? '', redis.log()].join('\n')
      },
      dumpDatabase: () => dumpDatabase(databaseUrls.superuser),
      restartRedis: redis.restart,
      stop,
    }
  } catch (err) {
    await stop()
    throw err
  }
}

/** Like Promise.all, but waits for the slower ones before it fails, so that what they started can be stopped. */
async function allStarted<T extends readonly unknown[]>(
  parts: [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(parts)
  return Promise.all(parts)
}

async function ownPostgres(options: PlatformOptions, dir: string): Promise<PostgresServer | undefined> {
  if (options.databaseUrl !== undefined) return undefined
  const port = options.ports?.postgres
  return startPostgres({
    ...(options.dir === undefined ? {} : { dataDir: join(dir, 'postgres') }),
    ...(port === undefined ? {} : { port }),
  })
}

async function databaseOf(options: PlatformOptions, postgres: PostgresServer | undefined): Promise<DatabaseUrls> {
  if (postgres !== undefined) return prepareDatabase(await postgres.createDatabase(DATABASE_NAME))
  const url = options.databaseUrl ?? ''
  return { superuser: url, controlPlane: url, secretResolver: url }
}

interface RedisPlace {
  readonly url: string
  log(): string
  readonly restart: (() => Promise<void>) | undefined
  readonly stop: (() => Promise<void>) | undefined
}

async function ownRedis(options: PlatformOptions, dir: string): Promise<RedisPlace> {
  if (options.redisUrl !== undefined) {
    return { url: options.redisUrl, log: () => '', restart: undefined, stop: undefined }
  }
  const port = options.ports?.redis
  return startRedis({ dir: join(dir, 'redis'), ...(port === undefined ? {} : { port }) })
}

async function chooseAddresses(options: PlatformOptions): Promise<Addresses> {
  const pick = async (name: keyof NonNullable<PlatformOptions['ports']>) => options.ports?.[name] ?? (await freePort())
  const controlPlane = await pick('control-plane')
  const internal = await pick('control-plane-internal')
  const resolver = await pick('secret-resolver')
  const gateway = await pick('gateway')
  return {
    api: `https://localhost:${controlPlane}`,
    internal: `https://localhost:${internal}`,
    resolver: `https://localhost:${resolver}`,
    gateway: gatewayUrl(options, gateway),
    ports: { controlPlane, internal, resolver, gateway },
  }
}

async function isAlive(api: PlatformApi, workerId: string): Promise<boolean> {
  const { items } = await api.call<{ items: { id: string; alive: boolean }[] }>('GET', '/v1/workers?limit=200')
  return items.some(({ id, alive }) => id === workerId && alive)
}
