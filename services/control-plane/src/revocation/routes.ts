import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { BEARER, NoBody, Thumbprint, Time } from '../http/schemas.ts'
import { requirePlatformOwner } from '../organizations/access.ts'
import { revokeCertificate, revokeService } from './revoke.ts'

/** What a revocation of an identity is answered with. */
export const RevokedIdentity = Type.Object({
  kind: Type.String({ description: 'worker or service' }),
  id: Type.String(),
  name: Type.String(),
  state: Type.Literal('revoked'),
  revoked_at: Time,
  sessions_failed: Type.Integer({ description: 'Sessions that this call ended; 0 where it was revoked before' }),
  join_tokens_deleted: Type.Integer(),
})

const RevokedCertificate = Type.Object({
  serial: Type.String(),
  kind: Type.String({ description: 'worker or service' }),
  identity_id: Type.String(),
  thumbprint: Thumbprint,
  not_after: Time,
  revoked_at: Time,
  sessions_failed: Type.Integer({ description: 'Sessions that this call ended; 0 where it was revoked before' }),
})

/** Revocation of services and of single certificates, for owners of the platform alone. */
export function revocationRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['trust'], security: BEARER }
  const onRequest = authenticate(ctx)

  app.post(
    '/v1/services/:id/revoke',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Revoke a service: its certificates are refused until it is registered again',
        params: Type.Object({ id: Type.String({ pattern: '^[a-z0-9-]{1,64}$' }) }),
        body: NoBody,
        response: { 200: RevokedIdentity },
      },
    },
    async request => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      return revokedView(await revokeService(ctx, caller, request.params.id))
    },
  )

  app.post(
    '/v1/certificates/:serial/revoke',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Revoke one certificate; its owner keeps the identity',
        params: Type.Object({ serial: Type.String({ pattern: '^[0-9a-f]{1,40}$' }) }),
        body: NoBody,
        response: { 200: RevokedCertificate },
      },
    },
    async request => {
      const caller = callerOf(request)
      requirePlatformOwner(caller)
      const { join_tokens_deleted: _, ...revoked } = await revokeCertificate(
        ctx,
        caller,
        canonicalSerial(request.params.serial),
      )
      const { not_after, revoked_at } = revoked
      return { ...revoked, not_after: not_after.toISOString(), revoked_at: revoked_at.toISOString() }
    },
  )
}

export function revokedView(revoked: Awaited<ReturnType<typeof revokeService>>) {
  return { ...revoked, state: 'revoked' as const, revoked_at: revoked.revoked_at.toISOString() }
}

/** The number as the register has it: whole bytes. Tools differ in the zeros that they put in front. */
function canonicalSerial(serial: string): string {
  const digits = serial.replace(/^0+(?=.)/, '')
  return digits.length % 2 === 0 ? digits : `0${digits}`
}
