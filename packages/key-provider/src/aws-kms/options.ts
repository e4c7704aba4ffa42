import { type Static, Type } from '@sinclair/typebox'

/** A key in AWS KMS, as the configuration names it. Credentials come from where AWS's tools look for them. */
export const AwsKmsSourceOptions = Type.Object(
  {
    /** The key id that is stored beside everything the key has wrapped. */
    name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' }),
    provider: Type.Literal('aws-kms'),
    /** The key itself and not an alias, which somebody may point at another key. */
    key_arn: Type.String({
      maxLength: 256,
      pattern:
        '^arn:aws[a-z-]{0,16}:kms:[a-z0-9-]{1,32}:[0-9]{12}:key/(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$',
    }),
    /** Default the region of the ARN; any other is refused. */
    region: Type.Optional(Type.String({ pattern: '^[a-z0-9-]{1,32}$' })),
    /** A VPC endpoint; default AWS's own for the region. */
    endpoint: Type.Optional(Type.String({ maxLength: 512, pattern: '^https?://[A-Za-z0-9.:\\[\\]-]+/?$' })),
    /** Milliseconds for one call with its retries and the search for credentials, default 5000. */
    timeout_ms: Type.Optional(Type.Integer({ minimum: 100, maximum: 60_000 })),
  },
  { additionalProperties: false },
)
export type AwsKmsSourceOptions = Static<typeof AwsKmsSourceOptions>

export const DEFAULT_TIMEOUT_MS = 5_000

export function regionOf(keyArn: string): string {
  return keyArn.split(':')[3] ?? ''
}
