import type { RapServer } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'
import { originOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { type Identify, peerOf, requirePeer } from '../http/peer.ts'
import { Nullable, Time } from '../http/schemas.ts'
import { TELLS_REVOKED } from '../revocation/tell.ts'
import { type Enrolled, enrol } from './enrol.ts'
import { MAX_JOIN_TOKEN_CHARACTERS } from './join-token.ts'
import { identityStatus, renewCertificate } from './renew.ts'

/** Largest CSR, PEM, in characters: an RSA key of 4096 bits with every name that may be registered fits. */
const MAX_CSR_CHARACTERS = 8192

const Csr = Type.String({
  minLength: 1,
  maxLength: MAX_CSR_CHARACTERS,
  description: 'PKCS#10 (RFC 2986), PEM; its names are those that are registered, or none',
})

const Certificate = Type.Object({
  kind: Type.String(),
  id: Type.String(),
  certificate: Type.String({ description: 'PEM: the certificate and its chain, without the root' }),
  trust_bundle: Type.Unknown({ description: 'The newest trust bundle, signed' }),
  trust_domain: Type.String(),
  not_after: Time,
  renew_at: Time,
})

/** `POST /v1/enroll`: for those who have a join token and nothing else. */
export function enrolmentRoutes(app: RapServer, ctx: Context): void {
  app.post(
    '/v1/enroll',
    {
      schema: {
        tags: ['trust'],
        summary: 'Get the first certificate with a join token',
        body: Type.Object({
          join_token: Type.String({ minLength: 1, maxLength: MAX_JOIN_TOKEN_CHARACTERS }),
          csr: Csr,
        }),
        response: { 200: Certificate },
      },
    },
    async (request, reply) => {
      const { join_token: joinToken, csr } = request.body
      const enrolled = await enrol(ctx, ctx.platformCa.issuing, { joinToken, csr, origin: originOf(request) })
      ctx.logger.info(
        { event: 'identity_enrolled', identity: `${enrolled.identity.kind}/${enrolled.identity.id}` },
        'identity enrolled',
      )
      reply.header('cache-control', 'no-store')
      return certificateView(ctx, enrolled)
    },
  )
}

/** What holders of a certificate ask over mutual TLS. */
export function internalIdentityRoutes(app: RapServer, ctx: Context, identify: Identify): void {
  const onRequest = requirePeer(identify, { kind: 'worker' }, { kind: 'service' })

  app.get(
    '/internal/v1/identity',
    {
      onRequest,
      config: TELLS_REVOKED,
      schema: {
        response: {
          200: Type.Object({
            kind: Type.String(),
            id: Type.String(),
            state: Type.String(),
            trust_bundle_version: Type.Integer(),
            renew_now: Type.Boolean({ description: 'The certificate of this connection should be replaced now' }),
            serial: Nullable(Type.String()),
          }),
        },
      },
    },
    async request => await identityStatus(ctx, peerOf(request)),
  )

  app.post(
    '/internal/v1/identity/certificates',
    { onRequest, config: TELLS_REVOKED, schema: { body: Type.Object({ csr: Csr }), response: { 200: Certificate } } },
    async request => {
      const renewed = await renewCertificate(ctx, peerOf(request), { csr: request.body.csr, requestId: request.id })
      return certificateView(ctx, renewed)
    },
  )
}

function certificateView(ctx: Context, enrolled: Enrolled): Static<typeof Certificate> {
  const { identity, certificate, trustBundle, notAfter, renewAt } = enrolled
  return {
    kind: identity.kind,
    id: identity.id,
    certificate,
    trust_bundle: trustBundle,
    trust_domain: ctx.config.RAP_TRUST_DOMAIN,
    not_after: notAfter.toISOString(),
    renew_at: renewAt.toISOString(),
  }
}
