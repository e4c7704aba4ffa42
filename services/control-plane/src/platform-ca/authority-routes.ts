import type { RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { auditCaller } from '../audit/write.ts'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Context } from '../context.ts'
import { BEARER, Nullable, Time } from '../http/schemas.ts'
import { requirePlatformOwner } from '../organizations/access.ts'
import {
  activateGeneration,
  type CaDeps,
  renewIntermediate,
  retireGeneration,
  rollBackGeneration,
  type StepOptions,
  stageGeneration,
} from './rotation.ts'

const AuthorityView = { subject: Type.String(), sha256: Type.String(), not_after: Time }

const Status = Type.Object({
  managed: Type.Boolean({ description: 'False where certificates come from elsewhere' }),
  bundle_ref: Type.String(),
  generations: Type.Array(
    Type.Object({
      generation: Type.Integer(),
      state: Type.String(),
      root: Type.Object({
        ...AuthorityView,
        key: Type.Union([Type.Literal('wrapped'), Type.Literal('elsewhere'), Type.Literal('none')]),
      }),
      intermediate: Type.Object(AuthorityView),
      certificates_in_force: Type.Integer(),
      created_at: Time,
      activated_at: Nullable(Time),
      retired_at: Nullable(Time),
    }),
  ),
  bundles: Type.Array(
    Type.Object({
      version: Type.Integer(),
      ref: Type.String(),
      sha256: Type.String(),
      roots: Type.Array(Type.String({ description: 'SHA-256 of a root, hexadecimal' })),
      created_at: Time,
    }),
  ),
})

/** The steps of the CA's life that the API offers; what needs a key in a file is for `rap-pki`. */
const STEPS: readonly [path: string, summary: string, take: (deps: CaDeps, options: StepOptions) => Promise<void>][] = [
  ['stage', 'Make the next generation of the CA and publish its root', stageGeneration],
  ['activate', 'Issue by the staged generation', activateGeneration],
  ['rollback', 'Go one step of the rotation back', rollBackGeneration],
  ['retire', 'End the rotation: publish a bundle without the older root', retireGeneration],
  ['renew-intermediate', 'Replace the intermediate that issues', renewIntermediate],
]

/** `/v1/platform-ca`: for owners of the platform alone. */
export function authorityRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['trust'], security: BEARER }
  const onRequest = authenticate(ctx)

  app.get(
    '/v1/platform-ca',
    {
      onRequest,
      schema: { ...common, summary: 'The platform CA: its generations and trust bundles', response: { 200: Status } },
    },
    async request => {
      requirePlatformOwner(callerOf(request))
      return await ctx.platformCa.status()
    },
  )

  for (const [path, summary, take] of STEPS) {
    app.post(
      `/v1/platform-ca/${path}`,
      {
        onRequest,
        schema: {
          ...common,
          summary,
          body: Type.Optional(
            Nullable(
              Type.Object({
                force: Type.Optional(
                  Type.Boolean({ description: 'Also where clients or owners of certificates are not ready for it' }),
                ),
              }),
            ),
          ),
          response: { 200: Status },
        },
      },
      async request => {
        const caller = callerOf(request)
        requirePlatformOwner(caller)
        const deps = ctx.platformCa.steps((tx, event) => auditCaller(tx, caller, event))
        await take(deps, { force: request.body?.force })
        return await ctx.platformCa.status()
      },
    )
  }
}
