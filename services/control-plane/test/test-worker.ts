import { randomUUID } from 'node:crypto'
import { type ClaimsOf, keyLookupOf, verifyToken } from '@rap/token-claims'
import { assignmentsKey } from '../src/sessions/coordination.ts'
import { heartbeatKey } from '../src/workers/registry.ts'
import type { Answer, Instance } from './helper.ts'

/** What a worker does with an assignment: report a state, or nothing. */
export type Reaction = 'ready' | 'silent' | { readonly failure: Record<string, string> }

/** The control plane's view of a worker: it announces itself, reads its stream and reports. */
export class TestWorker {
  readonly id = randomUUID()
  readonly url: string
  readonly assignments: ClaimsOf<'assignment'>[] = []
  reaction: Reaction = 'ready'
  /** What the target shows, base64 DER, the leaf first: reported before the reaction, as a worker does. */
  shows: readonly string[] | undefined
  /** The worker's own judgement over it: the code of its refusal. */
  judge: (assignment: ClaimsOf<'assignment'>) => string | undefined = () => undefined
  readonly #instance: Instance
  readonly #labels: Record<string, string>
  readonly #maxSessions: number
  #last = '0'
  #reading: Promise<void> = Promise.resolve()
  #isStopped = false

  constructor(instance: Instance, options: { labels?: Record<string, string>; maxSessions?: number }) {
    this.#instance = instance
    this.#labels = options.labels ?? {}
    this.#maxSessions = options.maxSessions ?? 1000
    this.url = `wss://worker-${this.id.slice(0, 8)}.example:8443/data-plane/v1`
  }

  get peer(): string {
    return `worker/${this.id}`
  }

  async announce(overrides: Record<string, unknown> = {}): Promise<Answer> {
    const answer = await this.#instance.internal(this.peer, 'POST', '/internal/v1/workers/self', {
      body: { name: 'worker', labels: this.#labels, public_url: this.url, version: '1', ...overrides },
    })
    await this.heartbeat()
    return answer
  }

  async heartbeat(overrides: Record<string, unknown> = {}, load: Record<string, unknown> = {}): Promise<void> {
    const value = {
      worker_id: this.id,
      // Redis may say anything: nobody may be sent there.
      public_url: 'wss://attacker.example/data-plane/v1',
      labels: {},
      load: { sessions: 0, max_sessions: this.#maxSessions, ...load },
      version: '1',
      runtime_transports: ['json_v1'],
      traffic_ready: true,
      started_at: new Date().toISOString(),
      ...overrides,
    }
    await this.#instance.stand.redis.set(heartbeatKey(this.id), JSON.stringify(value))
  }

  async disappear(): Promise<void> {
    await this.#instance.stand.redis.del(heartbeatKey(this.id))
  }

  /** Reads assignments and reacts to them until `stop`. */
  start(): this {
    this.#reading = this.#read()
    return this
  }

  async #read(): Promise<void> {
    const redis = this.#instance.stand.redis.duplicate({ commandTimeout: undefined as never })
    redis.on('error', () => {})
    try {
      while (!this.#isStopped) {
        // A Redis that is away is away for a worker as well; it looks again when it is back.
        const answer = (await redis
          .xread('BLOCK', 100, 'STREAMS', assignmentsKey(this.id), this.#last)
          .catch(() => null)) as [string, [string, string[]][]][] | null
        for (const [, entries] of answer ?? []) {
          for (const [entryId, fields] of entries) {
            this.#last = entryId
            await this.#take(fields[1] ?? '')
          }
        }
      }
    } finally {
      redis.disconnect()
    }
  }

  async #take(jws: string): Promise<void> {
    const { controlPlane } = this.#instance
    const assignment = await verifyToken('assignment', jws, {
      keys: await keyLookupOf(await controlPlane.context.signing.keySet()),
      issuer: controlPlane.context.config.DATA_PLANE_ISSUER,
      nowSeconds: Math.floor(Date.now() / 1000),
    })
    this.assignments.push(assignment)
    if (this.shows !== undefined) {
      const code = this.judge(assignment)
      const answer = await this.show(assignment.attachment_id, {
        mode: assignment.target.certificate_verification_mode,
        certificates: this.shows,
        ...(code !== undefined && { code }),
      })
      const refused: string | null = answer.body.code
      if (refused !== null) {
        const failure = { code: refused, title: 'Refused' }
        await this.report(assignment.attachment_id, { state: 'failed', failure })
        return
      }
    }
    if (this.reaction === 'silent') return
    const body = this.reaction === 'ready' ? { state: 'ready' } : { state: 'failed', failure: this.reaction.failure }
    await this.report(assignment.attachment_id, body)
  }

  async report(attachmentId: string, body: Record<string, unknown>): Promise<Answer> {
    return await this.#instance.internal(this.peer, 'POST', `/internal/v1/attachments/${attachmentId}/state`, { body })
  }

  async show(attachmentId: string, body: Record<string, unknown>): Promise<Answer> {
    return await this.#instance.internal(
      this.peer,
      'POST',
      `/internal/v1/attachments/${attachmentId}/target-certificate`,
      { body },
    )
  }

  async bind(token: string, overrides: Record<string, unknown> = {}, instance = this.#instance): Promise<Answer> {
    return await instance.internal(this.peer, 'POST', '/internal/v1/binds', {
      body: {
        token,
        proof_jti: randomUUID(),
        runtime_transport: 'binary_v1',
        requested_channels: ['display', 'input'],
        client_address: '192.0.2.7',
        ...overrides,
      },
    })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#reading
  }
}
