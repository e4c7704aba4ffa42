import { Counter, type Metrics, ProblemError, peerIdentity, type RapServer } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import { RecipientJwk } from './answer.ts'
import { type ResolveDeps, resolveSecret } from './resolve.ts'

/** Longest lease token that is looked at, in characters. */
const MAX_LEASE_TOKEN_CHARACTERS = 4096

const ResolveBody = Type.Object({
  lease_token: Type.String({ minLength: 1, maxLength: MAX_LEASE_TOKEN_CHARACTERS }),
  recipient_jwk: RecipientJwk,
})

type Count = (labels: { outcome: 'ok' | 'refused' | 'failed'; reason: string }) => void

/** The reasons are those of `RESOLVE_CHECKS` and a few codes, so the series are few. */
function resolveCounter(metrics: Metrics | undefined): Count {
  if (metrics === undefined) return () => {}
  const counter = new Counter({
    name: 'rap_secret_resolves_total',
    help: 'Resolves of secrets by outcome, and by the reason of a refusal',
    labelNames: ['outcome', 'reason'] as const,
    registers: [metrics.registry],
  })
  return labels => counter.inc(labels)
}

function countRefusal(count: Count, error: unknown): void {
  if (error instanceof ProblemError && error.status < 500) {
    count({ outcome: 'refused', reason: String(error.facts.reason ?? error.code) })
  } else count({ outcome: 'failed', reason: error instanceof ProblemError ? error.code : 'ERR_INTERNAL' })
}

/** The one route for workers. Its identity check is the first of `RESOLVE_CHECKS`, so that every refusal looks the same. */
export function addResolveRoute(app: RapServer, deps: ResolveDeps & { readonly metrics?: Metrics | undefined }): void {
  const count = resolveCounter(deps.metrics)
  app.post('/v1/resolve', { schema: { body: ResolveBody } }, async request => {
    const { lease_token: leaseToken, recipient_jwk: recipientJwk } = request.body
    const call = { leaseToken, recipientJwk, caller: peerIdentity(request), requestId: request.id }
    try {
      const answer = await resolveSecret({ ...call, logger: request.log as never }, deps)
      count({ outcome: 'ok', reason: '' })
      return answer
    } catch (error) {
      countRefusal(count, error)
      throw error
    }
  })
}
