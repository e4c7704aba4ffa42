import { type Static, Type } from '@sinclair/typebox'

/** Labels of tokens and of objects; a token's is 32 bytes, filled up with blanks (PKCS#11 v2.40 §3.2 CK_TOKEN_INFO). */
const Label = (maxLength: number) =>
  Type.String({ minLength: 1, maxLength, pattern: '^[\\x21-\\x7e]([\\x20-\\x7e]*[\\x21-\\x7e])?$' })
const AbsolutePath = Type.String({ minLength: 2, maxLength: 1024, pattern: '^/[^\\x00]+$' })

/** A key in an HSM, as the configuration names it. */
export const Pkcs11SourceOptions = Type.Object(
  {
    /** The key id that is stored beside everything the key has wrapped. */
    name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' }),
    provider: Type.Literal('pkcs11'),
    /** The PKCS#11 library of the HSM's vendor. */
    module: AbsolutePath,
    token_label: Label(32),
    key_label: Label(128),
    /** File with the user PIN, which only its owner may touch. */
    pin_file: AbsolutePath,
    /** Milliseconds for one call with everything that it waits for, default 5000. */
    timeout_ms: Type.Optional(Type.Integer({ minimum: 100, maximum: 60_000 })),
  },
  { additionalProperties: false },
)
export type Pkcs11SourceOptions = Static<typeof Pkcs11SourceOptions>

export const DEFAULT_TIMEOUT_MS = 5_000
