import type { TlsFiles } from '../tls.ts'

/** What `identityFields` and `platformFields` say about the identity of a service. */
export interface IdentityConfig {
  readonly RAP_TRUST_DOMAIN: string
  readonly RAP_TLS_CERT_FILE?: string
  readonly RAP_TLS_KEY_FILE?: string
  readonly RAP_PLATFORM_CA_FILE?: string
  readonly RAP_IDENTITY_DIR?: string
  readonly RAP_JOIN_TOKEN_FILE?: string
  readonly CONTROL_PLANE_URL?: string
  readonly CONTROL_PLANE_INTERNAL_URL?: string
  readonly RAP_IDENTITY_POLL_SECONDS: number
}

const FILES = ['RAP_TLS_CERT_FILE', 'RAP_TLS_KEY_FILE', 'RAP_PLATFORM_CA_FILE'] as const

/** Rules between the variables: either the three files, or RAP_IDENTITY_DIR and the way to the control plane. */
export function checkIdentityConfig(
  config: IdentityConfig,
  problem: (variable: string, message: string) => void,
): void {
  if (config.RAP_IDENTITY_DIR === undefined) {
    for (const variable of FILES) {
      if (config[variable] === undefined) problem(variable, 'is required, unless RAP_IDENTITY_DIR is set')
    }
    if (config.RAP_JOIN_TOKEN_FILE !== undefined) problem('RAP_JOIN_TOKEN_FILE', 'is for RAP_IDENTITY_DIR only')
    return
  }
  for (const variable of FILES) {
    if (config[variable] !== undefined) problem(variable, 'has no effect with RAP_IDENTITY_DIR; take one of them away')
  }
  if (config.CONTROL_PLANE_INTERNAL_URL === undefined) {
    problem('CONTROL_PLANE_INTERNAL_URL', 'is required with RAP_IDENTITY_DIR: certificates are renewed there')
  }
  if (config.RAP_JOIN_TOKEN_FILE !== undefined && config.CONTROL_PLANE_URL === undefined) {
    problem('CONTROL_PLANE_URL', 'is required with RAP_JOIN_TOKEN_FILE: it is where the token is good')
  }
}

/** The files of an identity that somebody else writes. `checkIdentityConfig` has seen that they are all there. */
export function identityFiles(config: IdentityConfig): TlsFiles & { readonly caFile: string } {
  return {
    certFile: config.RAP_TLS_CERT_FILE ?? '',
    keyFile: config.RAP_TLS_KEY_FILE ?? '',
    caFile: config.RAP_PLATFORM_CA_FILE ?? '',
  }
}
