import { type CredentialFile, readCredential } from './credential-file.ts'
import type { VaultRequest } from './exchange.ts'
import { jsonObject } from './json-bytes.ts'
import type { VaultAuthOptions } from './options.ts'

/** Where Kubernetes puts the token of a pod's service account. */
const KUBERNETES_JWT_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/token'

/** One way to a token, as the files it needs and the log-in request it makes of them. */
export interface AuthMethod {
  readonly name: VaultAuthOptions['method']
  readonly files: readonly CredentialFile[]
  /** The log-in request with the credentials that the files hold now; undefined where the file itself is the token. */
  logInRequest?(): Promise<VaultRequest & { readonly body: Buffer }>
}

export function authMethodOf(options: VaultAuthOptions): AuthMethod {
  switch (options.method) {
    case 'token':
      return { name: 'token', files: [{ path: options.token_file, isPrivate: true }] }
    case 'approle':
      return appRole(options.mount ?? 'approle', {
        // A role id is a name.
        role_id: { path: options.role_id_file, isPrivate: false },
        secret_id: { path: options.secret_id_file, isPrivate: true },
      })
    case 'kubernetes': {
      // The kubelet sets the mode of the file.
      const jwt = { path: options.jwt_file ?? KUBERNETES_JWT_FILE, isPrivate: false }
      return kubernetes(options.mount ?? 'kubernetes', options.role, jwt)
    }
  }
}

function appRole(
  mount: string,
  files: { readonly role_id: CredentialFile; readonly secret_id: CredentialFile },
): AuthMethod {
  return {
    name: 'approle',
    files: [files.role_id, files.secret_id],
    async logInRequest() {
      const roleId = await readCredential(files.role_id)
      const secretId = await readCredential(files.secret_id)
      const body = jsonObject({ role_id: roleId, secret_id: secretId })
      secretId.fill(0)
      return { method: 'POST', path: `auth/${mount}/login`, body }
    },
  }
}

function kubernetes(mount: string, role: string, file: CredentialFile): AuthMethod {
  return {
    name: 'kubernetes',
    files: [file],
    async logInRequest() {
      const jwt = await readCredential(file)
      const body = jsonObject({ role, jwt })
      jwt.fill(0)
      return { method: 'POST', path: `auth/${mount}/login`, body }
    },
  }
}
