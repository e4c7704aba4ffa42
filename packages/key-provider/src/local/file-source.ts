import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { type Static, Type } from '@sinclair/typebox'
import { KeyProviderError } from '../errors.ts'
import type { KeyProvider } from '../provider.ts'
import type { KeySource } from '../source.ts'
import { KEY_BYTES } from './local-key.ts'
import { openLocalKey } from './open-local-key.ts'

/** One key in one file. */
export const FileSourceOptions = Type.Object(
  {
    name: Type.String(),
    provider: Type.Literal('file'),
    /** 32 random bytes or their base64 text; closed to group and world. */
    file: Type.String({ minLength: 1, maxLength: 4096, pattern: '^/' }),
  },
  { additionalProperties: false },
)
export type FileSourceOptions = Static<typeof FileSourceOptions>

/**
 * The source of a key file, which may come later than its configuration: the key is there as soon as the file is.
 * Throws what `openLocalKey` throws of a file that is there.
 */
export async function openFileSource(
  { name, file }: FileSourceOptions,
  { allowOpenPermissions = false }: { readonly allowOpenPermissions?: boolean } = {},
): Promise<KeySource> {
  let provider: KeyProvider | undefined
  let isDestroyed = false
  const load = async (): Promise<KeyProvider> => {
    provider ??= isDestroyed ? undefined : await openLocalKey({ keyId: name, file, allowOpenPermissions })
    if (provider === undefined) throw new KeyProviderError('ERR_KEY_DESTROYED', 'key was destroyed', { key_id: name })
    return provider
  }
  await load().catch(error => {
    if (!isMissingFile(error)) throw error
  })
  return {
    name,
    key: keyId => (keyId === name ? provider : undefined),
    newestKeyId: async () => (await load()).keyId,
    create: async () => {
      await writeKeyFile(file, name)
      return (await load()).keyId
    },
    health: async () => (provider === undefined ? 'key file is not there' : await provider.health()),
    destroy: () => {
      isDestroyed = true
      provider?.destroy()
      provider = undefined
    },
  }
}

function isMissingFile(error: unknown): boolean {
  return (
    error instanceof KeyProviderError &&
    error.code === 'ERR_KEY_FILE_UNREADABLE' &&
    (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT'
  )
}

/** Writes a new key that nobody else may read. INVARIANT: a file that is there is never written over. */
async function writeKeyFile(path: string, name: string): Promise<void> {
  const key = randomBytes(KEY_BYTES)
  try {
    const handle = await open(path, 'wx', 0o600)
    try {
      await handle.write(key)
      // A key that is lost in a crash after something was wrapped with it would be worse than a slow write.
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    if (exists) throw new KeyProviderError('ERR_KEY_EXISTS', 'the key file is there already', { key_id: name, path })
    throw new KeyProviderError(
      'ERR_KEY_FILE_UNREADABLE',
      'key file cannot be written',
      { key_id: name, path },
      { cause },
    )
  } finally {
    key.fill(0)
  }
}
