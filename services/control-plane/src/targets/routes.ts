import { commonProblems, type RapServer } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { BEARER, IdParams, Uuid } from '../http/schemas.ts'
import { requireResource } from '../resources/access.ts'
import { MAX_AUTHORITIES_PEM_CHARACTERS } from './authorities.ts'
import { type Decision, decideTarget } from './decide.ts'
import { PIN_KINDS } from './pins.ts'
import { findCertificate } from './storage.ts'
import { TargetChainAnswer, TargetIdentityAnswer, targetChainView, targetIdentityView } from './view.ts'

/** SHA-256 as tools print it: colons and capitals are taken. */
const Fingerprint = Type.String({ minLength: 64, maxLength: 95, pattern: '^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$' })

const ACTIONS = ['approve', 'reject', 'stage', 'withdraw', 'enrol_ca', 'remove_ca', 'dismiss_alarm'] as const

const Body = Type.Object({
  action: Type.Union(ACTIONS.map(action => Type.Literal(action))),
  fingerprint_sha256: Type.Optional(
    Type.String({
      ...Fingerprint,
      description: 'approve, reject: a certificate that was seen; dismiss_alarm: that of the alarm',
    }),
  ),
  kind: Type.Optional(
    Type.Union(
      PIN_KINDS.map(kind => Type.Literal(kind)),
      { description: 'approve, stage, withdraw: what is pinned; certificate when absent' },
    ),
  ),
  sha256: Type.Optional(
    Type.String({ ...Fingerprint, description: 'stage, withdraw: of the certificate, or of its SubjectPublicKeyInfo' }),
  ),
  keep_others: Type.Optional(
    Type.Boolean({ description: 'approve, stage: the approved ones stay in force; false when absent' }),
  ),
  certificates_pem: Type.Optional(
    Type.String({
      maxLength: MAX_AUTHORITIES_PEM_CHARACTERS,
      description: 'enrol_ca: up to three certificates of authorities',
    }),
  ),
})

/** `/v1/resources/:id/target-identity`. */
export function targetIdentityRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['resources'], security: BEARER, params: IdParams, response: { 200: TargetIdentityAnswer } }
  const onRequest = authenticate(ctx)

  app.get(
    '/v1/resources/:id/target-identity',
    { onRequest, schema: { ...common, summary: 'What the target showed, what is approved of it, and its alarm' } },
    async request => {
      const { id } = request.params
      const resource = await requireResource(ctx.sql, callerOf(request), { id, permission: 'resources.manage' })
      return await targetIdentityView(ctx.sql, resource)
    },
  )

  app.get(
    '/v1/resources/:id/target-identity/certificates/:fingerprint',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'The chain of a certificate that the target showed',
        params: Type.Object({ id: Uuid, fingerprint: Type.String({ pattern: '^[0-9a-f]{64}$' }) }),
        response: { 200: TargetChainAnswer },
      },
    },
    async request => {
      const { id, fingerprint } = request.params
      await requireResource(ctx.sql, callerOf(request), { id, permission: 'resources.manage' })
      const certificate = await findCertificate(ctx.sql, id, fingerprint)
      if (certificate === undefined) throw problems.ERR_TARGET_CERTIFICATE_NOT_SEEN()
      return targetChainView(certificate)
    },
  )

  app.post(
    '/v1/resources/:id/target-identity',
    {
      onRequest,
      schema: {
        ...common,
        summary:
          'Decide about the identity of a target; an approval makes the mode pinned, and retires what was approved before',
        body: Body,
      },
    },
    async request => {
      const { id } = request.params
      const caller = callerOf(request)
      await decideTarget(ctx, caller, { id, decision: decisionOf(request.body) })
      return await targetIdentityView(
        ctx.sql,
        await requireResource(ctx.sql, caller, { id, permission: 'resources.manage' }),
      )
    },
  )
}

/** A body with the fields of its action, and no other. Throws ProblemError ERR_VALIDATION. */
function decisionOf({ action, ...given }: Static<typeof Body>): Decision {
  const { fingerprint_sha256: fingerprint, kind = 'certificate', sha256, certificates_pem: pem } = given
  const keepOthers = given.keep_others ?? false
  const only = (...names: readonly (keyof typeof given)[]): void => {
    const other = (Object.keys(given) as (keyof typeof given)[]).find(name => !names.includes(name))
    if (other !== undefined) throw commonProblems.ERR_VALIDATION({ detail: `${other} does not belong to ${action}` })
  }
  switch (action) {
    case 'approve':
      only('fingerprint_sha256', 'kind', 'keep_others')
      return { action, fingerprint: plain(fingerprint, 'fingerprint_sha256'), kind, keepOthers }
    case 'reject':
    case 'dismiss_alarm':
      only('fingerprint_sha256')
      return { action, fingerprint: plain(fingerprint, 'fingerprint_sha256') }
    case 'stage':
      only('kind', 'sha256', 'keep_others')
      return { action, kind, sha256: plain(sha256, 'sha256'), keepOthers }
    case 'withdraw':
      only('kind', 'sha256')
      return { action, kind, sha256: plain(sha256, 'sha256') }
    case 'enrol_ca':
      only('certificates_pem')
      if (pem === undefined) throw missing('certificates_pem')
      return { action, pem }
    case 'remove_ca':
      only()
      return { action }
  }
}

function plain(fingerprint: string | undefined, name: string): string {
  if (fingerprint === undefined) throw missing(name)
  return fingerprint.replaceAll(':', '').toLowerCase()
}

const missing = (name: string) => commonProblems.ERR_VALIDATION({ detail: `${name} is missing` })
