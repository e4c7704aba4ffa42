import { KeyProviderError } from '@rap/key-provider'
import { type RapServer, requireIdentity } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { actor, CONTROL_PLANE, Uuid } from '../control-plane.ts'
import { problems } from '../errors.ts'
import type { KeyActor } from './audit.ts'
import { listRewraps, orderRewrap, readRewrap } from './jobs.ts'
import type { KeyDeps } from './register.ts'
import { reportKeys } from './report.ts'
import { retireKey } from './retire.ts'
import { planRewrap } from './rewrap.ts'
import { rotateKey } from './rotate.ts'

const Name = Type.String({ minLength: 1, maxLength: 128, pattern: '^[A-Za-z0-9][A-Za-z0-9._:-]*$' })

/** Master keys, for the control plane; no key material goes in or out. */
export function addMasterKeyRoutes(app: RapServer, deps: KeyDeps & { readonly kickRewrap: () => void }): void {
  const onRequest = requireIdentity(CONTROL_PLANE)

  app.get('/v1/master-keys', { onRequest }, async () => await reportKeys(deps))

  app.post(
    '/v1/master-keys/rotate',
    { onRequest, schema: { body: Type.Object({ source: Name, ...actor }) } },
    async request => await ofProvider(rotateKey(request.body.source, deps, actorOf(request.body))),
  )

  app.post(
    '/v1/master-keys/:key_id/retire',
    { onRequest, schema: { params: Type.Object({ key_id: Name }), body: Type.Object(actor) } },
    async request => await retireKey(request.params.key_id, deps, actorOf(request.body)),
  )

  app.get('/v1/rewraps/plan', { onRequest }, async () => await planRewrap(deps.sql))
  app.get('/v1/rewraps', { onRequest }, async () => ({ items: await listRewraps(deps.sql) }))

  app.get(
    '/v1/rewraps/:id',
    { onRequest, schema: { params: Type.Object({ id: Uuid }) } },
    async request => await readRewrap(deps.sql, request.params.id),
  )

  app.post('/v1/rewraps', { onRequest, schema: { body: Type.Object(actor) } }, async (request, reply) => {
    const { actor_user_id: userId, request_id: requestId } = request.body
    const job = await orderRewrap(deps, { userId, requestId })
    deps.kickRewrap()
    return await reply.code(202).send(job)
  })
}

function actorOf(body: { actor_user_id: string; request_id: string }): KeyActor {
  return { actor: { kind: 'user', id: body.actor_user_id }, requestId: body.request_id }
}

/** What the place of a key says is told to the one who manages keys, as a code. */
async function ofProvider<T>(outcome: Promise<T>): Promise<T> {
  try {
    return await outcome
  } catch (error) {
    if (!(error instanceof KeyProviderError)) throw error
    throw problems.ERR_MASTER_KEY_PROVIDER({
      cause: error,
      extras: { reason: error.code },
      facts: { reason: error.code },
    })
  }
}
