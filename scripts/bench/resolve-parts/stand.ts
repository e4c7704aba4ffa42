import { createLogger, InternalAgent, InternalClient } from '@rap/service-kit'
import { startProcess } from '@rap/testkit'
import { call } from '../../../services/secret-resolver/test/support/https.ts'
import { recipientKey, TRUST_DOMAIN } from '../../../services/secret-resolver/test/support/platform.ts'
import type { Place } from '../../../services/secret-resolver/test/support/seed.ts'
import { seedResource, seedSession, seedWorker } from '../../../services/secret-resolver/test/support/seed.ts'
import { readyFields, serviceEnv, startService } from '../../../services/secret-resolver/test/support/service.ts'
import {
  leaseToken,
  putSecret,
  type Resolver,
  seedPlace,
  startWorld,
  type World,
} from '../../../services/secret-resolver/test/support/world.ts'

/** What is measured, and what it is measured beside. */
export type Group = 'resolve' | 'bare'

/** The body of one resolve; good for one answer of the resolver, and for any number of the bare route. */
export type Body = { readonly lease_token: string; readonly recipient_jwk: object }

export interface Stand {
  readonly pids: Readonly<Record<Group, number>>
  /** A client as the worker has one. The caller closes it. */
  client(group: Group): { readonly client: InternalClient; close(): Promise<void> }
  /** Bodies of resolves that were never asked before; they are good for less than two minutes. */
  bodies(count: number): Promise<Body[]>
  stop(): Promise<void>
}

export interface StandOptions {
  readonly organizations: number
  readonly resourcesEach: number
  readonly sessionsEach: number
  readonly profileDir?: string | undefined
  readonly onProgress: (step: string) => void
}

/** Limits are for attackers; here one worker asks for everything. */
const NO_LIMIT = '1000000'
const LEASE_MS = 3_600_000
const KEYS = 64

/** Starts the real resolver with sessions that may be resolved, and the bare route. */
export async function startStand(options: StandOptions): Promise<Stand> {
  const stops: (() => unknown)[] = []
  // The parts of the resolver's tests take anything that ends.
  const ends = { teardown: (stop: () => unknown) => stops.push(stop) } as never
  const stop = async (): Promise<void> => {
    for (const end of stops.splice(0).reverse()) await end()
  }
  try {
    options.onProgress('Postgres, Redis and the secret-resolver')
    const world = await startWorld(ends)
    const env = await serviceEnv(ends, world)
    const resolver = await startService(ends, {
      ...env,
      LOG_LEVEL: 'info',
      RESOLVE_LIMIT_PER_WORKER: NO_LIMIT,
      RESOLVE_LIMIT_PER_SESSION: NO_LIMIT,
      ...(options.profileDir !== undefined && {
        NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${options.profileDir}`,
      }),
    })
    const { internal_url: resolverUrl, pid } = await readyFields(resolver)

    options.onProgress('organizations, secrets and sessions')
    const remote = { origin: resolverUrl, call: (tls, what) => call(resolverUrl, tls, what) } as Resolver
    const places = await seedPlaces(world, remote, options)
    const recipients = await Promise.all(Array.from({ length: KEYS }, async () => (await recipientKey()).jwk))

    let asked = 0
    const bodies = async (count: number): Promise<Body[]> =>
      await Promise.all(
        Array.from({ length: count }, async () => {
          asked += 1
          const place = places[asked % places.length] as Place
          return {
            lease_token: await leaseToken(world, place),
            recipient_jwk: recipients[asked % KEYS] as object,
          }
        }),
      )

    options.onProgress('the bare route')
    const [one] = await bodies(1)
    const answer = await remote.call(world.worker, { method: 'POST', path: '/v1/resolve', body: one })
    if (answer.status !== 200) throw new Error(`the resolver answers ${answer.status}`)
    const bare = await startProcess({
      name: 'bare route',
      command: process.execPath,
      args: [`${import.meta.dirname}/bare.ts`],
      env: {
        BARE_CERT_FILE: env.RAP_TLS_CERT_FILE,
        BARE_KEY_FILE: env.RAP_TLS_KEY_FILE,
        BARE_CA_FILE: env.RAP_PLATFORM_CA_FILE,
        BARE_ANSWER_CHARACTERS: String(answer.body.jwe.length),
        NODE_ENV: 'production',
      },
    })
    stops.push(() => bare.stop())
    const [line] = await bare.waitForOutput(/^\{.*\}$/m, 30_000)
    const urls = { resolve: resolverUrl, bare: `https://127.0.0.1:${(JSON.parse(line) as { port: number }).port}` }

    const logger = createLogger({ service: 'bench', level: 'silent' })
    return {
      pids: { resolve: pid, bare: bare.pid },
      client(group) {
        const agent = new InternalAgent({
          ...world.worker,
          ca: world.platform.ca,
          trustDomain: TRUST_DOMAIN,
          expectedIdentity: 'service/secret-resolver',
        })
        const client = new InternalClient({ baseUrl: urls[group], agent, logger })
        return { client, close: () => agent.close() }
      },
      bodies,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Every session has a lease and an attachment of its own; those of one resource share its secret, as they do in life. */
async function seedPlaces(world: World, resolver: Resolver, options: StandOptions): Promise<Place[]> {
  const { controlPlane: sql } = world.database
  await seedWorker(sql, world.worker.id)
  const places: Place[] = []
  for (let organization = 0; organization < options.organizations; organization++) {
    const first = await seedPlace(world)
    for (let resource = 0; resource < options.resourcesEach; resource++) {
      const resource_id = await seedResource(sql, first)
      const who = { ...first, resource_id }
      for (let session = 0; session < options.sessionsEach; session++) places.push(await seedSession(sql, who))
      const stored = await putSecret(world, resolver, places.at(-1) as Place)
      if (stored.status !== 200) throw new Error(`the secret was answered with ${stored.status}`)
    }
  }
  for (const { lease_id, worker_id, session_id, attachment_id } of places) {
    const lease = JSON.stringify({ lease_id, worker_id, session_id, attachment_id })
    await world.redis.set(`rap:lease:${lease_id}`, lease, 'PX', LEASE_MS)
  }
  return places
}
