import { type RapServer, requireIdentity } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { actor, CONTROL_PLANE, Uuid } from '../control-plane.ts'
import { problems } from '../errors.ts'
import { MAX_SEALED_CHARACTERS } from '../sealing/sealed-secret.ts'
import { activeSealingJwk } from '../sealing/store.ts'
import { SECRET_SLOT, secretRefOf } from './secret-ref.ts'
import { selectLiveMetadata, selectVersions } from './store.ts'
import { deleteSecret, rollbackSecret, type WriteDeps, writeSecret } from './write.ts'

const Version = Type.Integer({ minimum: 0, maximum: 2_147_483_646 })

const SecretParams = Type.Object({ organization_id: Uuid, resource_id: Uuid })
/** Who the control plane acts for; `expected_version` is the version in force that this caller has seen, 0 for none. */
const order = { ...actor, expected_version: Type.Optional(Version) }
const WriteBody = Type.Object({ sealed: Type.String({ minLength: 1, maxLength: MAX_SEALED_CHARACTERS }), ...order })
const DeleteBody = Type.Object(order)
const RollbackBody = Type.Object({ to_version: Type.Integer({ minimum: 1, maximum: 2_147_483_646 }), ...order })

/** What the control plane may do; INVARIANT: no route of this file answers with anything that was decrypted. */
export function addSecretRoutes(app: RapServer, deps: WriteDeps): void {
  const onRequest = requireIdentity(CONTROL_PLANE)
  const path = `/v1/secrets/:organization_id/:resource_id/${SECRET_SLOT}`

  app.get('/v1/sealing-key', { onRequest }, async () => await activeSealingJwk(deps))

  app.put(path, { onRequest, schema: { params: SecretParams, body: WriteBody } }, async request => {
    return await writeSecret(request.body.sealed, orderOf(request), deps)
  })

  app.get(path, { onRequest, schema: { params: SecretParams } }, async request => {
    const { organization_id, resource_id } = request.params
    const [metadata] = await selectLiveMetadata(deps.sql, secretRefOf(organization_id, resource_id))
    if (metadata === undefined) throw problems.ERR_SECRET_NOT_FOUND()
    return metadata
  })

  app.get(`${path}/versions`, { onRequest, schema: { params: SecretParams } }, async request => {
    const { organization_id, resource_id } = request.params
    return { items: await selectVersions(deps.sql, secretRefOf(organization_id, resource_id), deps.versionRetentionMs) }
  })

  app.post(`${path}/rollback`, { onRequest, schema: { params: SecretParams, body: RollbackBody } }, async request => {
    return await rollbackSecret(request.body.to_version, orderOf(request), deps)
  })

  app.delete(path, { onRequest, schema: { params: SecretParams, body: DeleteBody } }, async request => {
    return await deleteSecret(orderOf(request), deps)
  })
}

function orderOf({
  params,
  body,
}: {
  params: { organization_id: string; resource_id: string }
  body: { actor_user_id: string; request_id: string; expected_version?: number }
}) {
  return {
    organizationId: params.organization_id,
    resourceId: params.resource_id,
    actorUserId: body.actor_user_id,
    requestId: body.request_id,
    expectedVersion: body.expected_version,
  }
}
