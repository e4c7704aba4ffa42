import { withoutCredentials } from '@rap/credential-keys'
import { Type } from '@sinclair/typebox'
import { Time, Uuid } from '../http/schemas.ts'
import { LabelsSchema } from '../workers/labels.ts'
import type { ResourceRow } from './storage.ts'

/** A resource as the API answers it. */
export const Resource = Type.Object({
  id: Uuid,
  organization_id: Uuid,
  name: Type.String(),
  protocol: Type.Literal('rdp'),
  address: Type.String(),
  secret_ref: Type.Union([Type.String(), Type.Null()], {
    description:
      'Null until a secret is written (PUT /v1/resources/:id/secret). In production no session starts before that: ERR_RESOURCE_SECRET_REQUIRED',
  }),
  metadata: Type.Record(Type.String(), Type.Unknown(), {
    description: 'Without what looks like a credential, at any depth',
  }),
  labels: LabelsSchema,
  created_at: Time,
  updated_at: Time,
})

/** INVARIANT: no metadata that looks like a credential leaves the service, at any depth, in development either. */
export function resourceView(row: ResourceRow) {
  return {
    id: row.id,
    organization_id: row.organization_id,
    name: row.name,
    protocol: row.protocol,
    address: row.address,
    secret_ref: row.secret_ref,
    metadata: withoutCredentials(row.metadata),
    labels: row.labels,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}
