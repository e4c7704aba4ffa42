import { type Static, Type } from '@sinclair/typebox'

/** How the certificate of a direct worker is trusted: DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE. */
export const TRUST_MODES = ['smoke_insecure', 'public_ca', 'platform_ca'] as const
export type TlsTrustMode = (typeof TRUST_MODES)[number]

const RuntimeTransport = Type.Union([
  Type.Literal('rdcleanpath_v1'),
  Type.Literal('binary_v1'),
  Type.Literal('json_v1'),
])

/** What a candidate says of itself. INVARIANT: trust metadata is there only where the candidate can carry data. */
export const CandidateMetadata = Type.Object({
  runtime_transport: Type.Literal('json_v1'),
  runtime_transports: Type.Array(RuntimeTransport, { maxItems: 8 }),
  traffic_ready: Type.Boolean(),
  tls_trust_mode: Type.Optional(Type.Union(TRUST_MODES.map(mode => Type.Literal(mode)))),
  production_trusted: Type.Optional(Type.Boolean()),
  smoke_only: Type.Optional(Type.Boolean()),
  tls_ca_ref: Type.Optional(Type.String({ maxLength: 128 })),
})
export type CandidateMetadata = Static<typeof CandidateMetadata>

/** One way to reach the data plane; the lowest priority is tried first. */
export const Candidate = Type.Object({
  type: Type.Union([Type.Literal('direct_worker_wss'), Type.Literal('backend_gateway')]),
  url: Type.String({ maxLength: 512, pattern: '^wss?://' }),
  priority: Type.Integer({ minimum: 0, maximum: 1000 }),
  metadata: CandidateMetadata,
})
export type Candidate = Static<typeof Candidate>

/** The environments in which less than production trust may do; every other name, in any spelling, is production. */
export const NON_PRODUCTION_ENVIRONMENTS: readonly string[] = ['development', 'smoke', 'test']

/** True for APP_ENV, and on the client for `environment`, unless it is one of the listed names to the letter. */
export function isProductionEnvironment(environment: string): boolean {
  return !NON_PRODUCTION_ENVIRONMENTS.includes(environment)
}
