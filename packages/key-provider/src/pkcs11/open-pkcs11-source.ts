import { stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { KeyProviderError } from '../errors.ts'
import type { SourceLogger } from '../logger.ts'
import { isKeyId } from '../provider.ts'
import type { KeySource } from '../source.ts'
import { ModuleThreads } from './module-threads.ts'
import { DEFAULT_TIMEOUT_MS, type Pkcs11SourceOptions } from './options.ts'
import { readPinFile } from './pin-file.ts'
import { Pkcs11KeyProvider } from './pkcs11-key.ts'

export interface Pkcs11SourceDeps {
  /** Take a PIN file that the group or the world may read or write; for development only. */
  readonly allowOpenPermissions?: boolean
  readonly logger?: SourceLogger | undefined
}

/**
 * A key in an HSM, through the PKCS#11 library of its vendor. The key id is the source's name.
 *
 * Checks files only; the token is first asked when a key is used. Throws KeyProviderError ERR_KEY_ID_INVALID,
 * ERR_KEY_CONFIGURATION (no native module, no library), ERR_KEY_FILE_UNREADABLE, ERR_KEY_FILE_PERMISSIONS, ERR_KEY_LENGTH.
 */
export async function openPkcs11Source(
  options: Pkcs11SourceOptions,
  { allowOpenPermissions = false, logger }: Pkcs11SourceDeps = {},
): Promise<KeySource> {
  const { name, module, token_label: tokenLabel, key_label: keyLabel, pin_file: pinFile } = options
  if (!isKeyId(name)) throw new KeyProviderError('ERR_KEY_ID_INVALID', 'key id is out of form')
  assertNativeModule(name)
  await assertLibrary(name, module)
  const pin = await readPinFile(pinFile, allowOpenPermissions)
  pin.fill(0)
  const provider = new Pkcs11KeyProvider({
    keyId: name,
    address: { tokenLabel, keyLabel },
    pin: { path: pinFile, allowOpenPermissions, logger },
    threads: ModuleThreads.of(module),
    timeoutMs: options.timeout_ms ?? DEFAULT_TIMEOUT_MS,
  })
  return {
    name,
    key: keyId => (keyId === name ? provider : undefined),
    newestKeyId: async () => name,
    create: async () => {
      await provider.create()
      return name
    },
    health: () => provider.health(),
    destroy: () => provider.destroy(),
  }
}

/** The native module is an optional dependency: where it could not be compiled, it is not there. */
function assertNativeModule(name: string): void {
  try {
    createRequire(import.meta.url).resolve('pkcs11js/build/Release/pkcs11.node')
  } catch (cause) {
    const remedy = 'install g++, make and python3, then remove node_modules and install again'
    const message = `the native module pkcs11js is not built: ${remedy}`
    throw new KeyProviderError('ERR_KEY_CONFIGURATION', message, { key_id: name }, { cause })
  }
}

async function assertLibrary(name: string, path: string): Promise<void> {
  const stats = await stat(path).catch(() => undefined)
  if (stats?.isFile() === true) return
  throw new KeyProviderError('ERR_KEY_CONFIGURATION', 'there is no PKCS#11 library', { key_id: name, path })
}
