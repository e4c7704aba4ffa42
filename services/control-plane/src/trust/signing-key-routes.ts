import { KeyProviderError } from '@rap/key-provider'
import { ProblemError, type RapServer } from '@rap/service-kit'
import { type Static, Type } from '@sinclair/typebox'
import { auditCaller } from '../audit/write.ts'
import { authenticate, callerOf } from '../auth/authenticate.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import { BEARER, NoBody, Nullable, Thumbprint, Time } from '../http/schemas.ts'
import { requirePlatformOwner } from '../organizations/access.ts'
import { publicPemOf } from './key-material.ts'
import type { SigningKeyRow } from './key-rows.ts'
import { PUBLISHED_SECONDS } from './key-times.ts'

const Key = Type.Object({
  kid: Thumbprint,
  state: Type.Union(['next', 'active', 'retiring', 'retired', 'revoked'].map(state => Type.Literal(state))),
  created_at: Time,
  activated_at: Nullable(Time),
  retiring_at: Nullable(Time),
  retired_at: Nullable(Time),
  revoked_at: Nullable(Time),
  signs_next_at: Type.Optional(
    Type.String({ ...Time, description: 'Of the next key: from when on a rotation need not be forced' }),
  ),
  public_key: Nullable(
    Type.String({
      description: 'SubjectPublicKeyInfo (PEM), for RDP_WORKER_DATA_PLANE_PUBLIC_KEY_FILE; null once it is out of use',
    }),
  ),
})

const Keys = Type.Object({
  keys: Type.Array(Key, { description: 'The newest first' }),
  next_rotation_at: Nullable(
    Type.String({ ...Time, description: 'By the schedule; null where DATA_PLANE_SIGNING_KEY_ROTATION_HOURS is 0' }),
  ),
})

const Rotated = Type.Object({ previous_kid: Thumbprint, active_kid: Thumbprint, next_kid: Thumbprint })
const Revoked = Type.Object({
  revoked_kid: Thumbprint,
  active_kid: Nullable(Thumbprint),
  next_kid: Nullable(Thumbprint),
})

/** `/v1/signing-keys`, for owners of the platform alone. */
export function signingKeyRoutes(app: RapServer, ctx: Context): void {
  const common = { tags: ['trust'], security: BEARER }
  const onRequest = authenticate(ctx)

  app.get(
    '/v1/signing-keys',
    {
      onRequest,
      schema: { ...common, summary: 'The signing keys of the data plane and their states', response: { 200: Keys } },
    },
    async request => {
      requirePlatformOwner(callerOf(request))
      return keysView(await ctx.signing.list(), ctx.config.DATA_PLANE_SIGNING_KEY_ROTATION_HOURS)
    },
  )

  app.post(
    '/v1/signing-keys/rotate',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Rotate the signing keys of the data plane',
        body: Type.Optional(
          Nullable(
            Type.Object({
              force: Type.Optional(
                Type.Boolean({ description: 'Also where verifiers may not know the next key yet; for emergencies' }),
              ),
            }),
          ),
        ),
        response: { 200: Rotated },
      },
    },
    async request => {
      const force = request.body?.force ?? false
      return await changing({ ctx, caller: callerOf(request), action: 'rotate' }, record =>
        ctx.signing.rotate({ force, record }),
      )
    },
  )

  app.post(
    '/v1/signing-keys/:kid/revoke',
    {
      onRequest,
      schema: {
        ...common,
        summary: 'Take a signing key back that may be in other hands; its tokens are refused at once',
        params: Type.Object({ kid: Thumbprint }),
        body: NoBody,
        response: { 200: Revoked },
      },
    },
    async request => {
      const { kid } = request.params
      return await changing({ ctx, caller: callerOf(request), action: 'revoke' }, async record => {
        await ctx.signing.revoke(kid, record)
        // The key is out of use whatever follows; the sweep makes what is missing when the place of keys answers again.
        await ctx.signing
          .fill()
          .catch(error => ctx.logger.error({ event: 'signing_keys_not_made', err: error }, 'signing keys not made'))
        const { active, next } = await ctx.signing.kids()
        return { revoked_kid: kid, active_kid: active, next_kid: next }
      })
    },
  )
}

/** Runs what changes keys, for the owners of the platform; every refusal is audited: nobody comes upon these by accident. */
async function changing<T>(
  { ctx, caller, action }: { ctx: Context; caller: Caller; action: 'rotate' | 'revoke' },
  change: (
    record: (tx: Parameters<typeof auditCaller>[0], event: Parameters<typeof auditCaller>[2]) => Promise<void>,
  ) => Promise<T>,
): Promise<T> {
  try {
    requirePlatformOwner(caller)
    return await change((tx, event) => auditCaller(tx, caller, event))
  } catch (error) {
    const problem =
      error instanceof KeyProviderError ? problems.ERR_SIGNING_KEY_PROVIDER_UNAVAILABLE({ cause: error }) : error
    if (problem instanceof ProblemError) {
      await auditCaller(ctx.sql, caller, {
        organization_id: null,
        event: 'signing_key_change_refused',
        outcome: 'refused',
        code: problem.code,
        details: { action },
      })
    }
    throw problem
  }
}

function keysView(rows: readonly SigningKeyRow[], hours: number): Static<typeof Keys> {
  const active = rows.find(({ state }) => state === 'active')
  const next = rows.find(({ state }) => state === 'next')
  const mayRotateAt = (next?.created_at.getTime() ?? 0) + PUBLISHED_SECONDS * 1000
  const dueAt = (active?.activated_at?.getTime() ?? 0) + hours * 3_600_000
  return {
    keys: rows.map(row => ({
      kid: row.kid,
      state: row.state,
      created_at: row.created_at.toISOString(),
      activated_at: row.activated_at?.toISOString() ?? null,
      retiring_at: row.retiring_at?.toISOString() ?? null,
      retired_at: row.retired_at?.toISOString() ?? null,
      revoked_at: row.revoked_at?.toISOString() ?? null,
      ...(row.state === 'next' && { signs_next_at: new Date(mayRotateAt).toISOString() }),
      public_key: row.retired_at === null && row.revoked_at === null ? publicPemOf(row.public_jwk) : null,
    })),
    next_rotation_at: hours === 0 || active === undefined ? null : new Date(Math.max(dueAt, mayRotateAt)).toISOString(),
  }
}
