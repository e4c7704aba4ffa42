import { type Static, Type } from '@sinclair/typebox'

const Path = Type.String({ minLength: 1, maxLength: 4096 })
/** A path of mounts or namespaces: segments of Vault's own characters, without dot segments and slashes at the ends. */
const MountPath = Type.String({
  pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$',
  maxLength: 128,
})
/** What Vault takes as the name of a key or a role. */
const Name = Type.String({ pattern: '^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$', maxLength: 128 })

const TokenAuth = Type.Object({ method: Type.Literal('token'), token_file: Path }, { additionalProperties: false })
const AppRoleAuth = Type.Object(
  { method: Type.Literal('approle'), mount: Type.Optional(MountPath), role_id_file: Path, secret_id_file: Path },
  { additionalProperties: false },
)
const KubernetesAuth = Type.Object(
  {
    method: Type.Literal('kubernetes'),
    mount: Type.Optional(MountPath),
    role: Name,
    jwt_file: Type.Optional(Path),
  },
  { additionalProperties: false },
)

/** How this service proves itself to Vault or OpenBao. */
export const VaultAuthOptions = Type.Union([TokenAuth, AppRoleAuth, KubernetesAuth])
export type VaultAuthOptions = Static<typeof VaultAuthOptions>

/** One Transit key of a Vault or OpenBao server, as an entry of the list of key sources. */
export const VaultSourceOptions = Type.Object(
  {
    /** Key ids are `<name>:v<version>`. It is bound into everything that is wrapped, so it stays for the life of the rows. */
    name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' }),
    provider: Type.Literal('vault'),
    /** Scheme, host and port; no path. */
    address: Type.String({ pattern: '^https?://[^/?#@\\s\\\\]{1,255}/?$', maxLength: 300 }),
    /** Name of the Transit key; derived, of an AEAD type. */
    key: Name,
    /** Where the Transit engine is mounted; `transit` when absent. */
    mount: Type.Optional(MountPath),
    /** Namespace of Vault Enterprise or OpenBao. */
    namespace: Type.Optional(MountPath),
    /** Certificate authorities of the server, PEM; the system's store when absent. */
    ca_file: Type.Optional(Path),
    /** Time limit of one call with its retries, in milliseconds; 5000 when absent. */
    timeout_ms: Type.Optional(Type.Integer({ minimum: 100, maximum: 60_000 })),
    auth: VaultAuthOptions,
  },
  { additionalProperties: false },
)
export type VaultSourceOptions = Static<typeof VaultSourceOptions>
