import { type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { KeyProviderError } from './errors.ts'
import type { SourceLogger } from './logger.ts'
import { type PrivateFile, withPrivateFile } from './private-file.ts'
import type { KeySource } from './source.ts'

/** What opening a source may need of the process around it; each provider takes what it knows. */
export interface SourceContext {
  /** Development only: key files that others may read, and plain HTTP to a place of keys. */
  readonly isDevelopment: boolean
  readonly logger?: SourceLogger | undefined
}

interface Opener {
  readonly schema: TSchema
  readonly open: (options: never, context: SourceContext) => Promise<KeySource>
}

/** Each kind of source by the name it has in the file. Loaded when it is configured, so that nobody pays for the others. */
const OPENERS: Readonly<Record<string, () => Promise<Opener>>> = {
  file: async () => {
    const { FileSourceOptions, openFileSource } = await import('./local/file-source.ts')
    return {
      schema: FileSourceOptions,
      open: (options, { isDevelopment }) => openFileSource(options, { allowOpenPermissions: isDevelopment }),
    }
  },
  vault: async () => {
    const { openVaultSource, VaultSourceOptions } = await import('./vault/index.ts')
    return {
      schema: VaultSourceOptions,
      open: (options, { isDevelopment, logger }) =>
        openVaultSource(options, { ...(logger && { logger }), allowPlainHttp: isDevelopment }),
    }
  },
  pkcs11: async () => {
    const { openPkcs11Source, Pkcs11SourceOptions } = await import('./pkcs11/index.ts')
    return {
      schema: Pkcs11SourceOptions,
      open: (options, { isDevelopment, logger }) =>
        openPkcs11Source(options, { ...(logger && { logger }), allowOpenPermissions: isDevelopment }),
    }
  },
  'aws-kms': async () => {
    const { AwsKmsSourceOptions, openAwsKmsSource } = await import('./aws-kms/index.ts')
    return {
      schema: AwsKmsSourceOptions,
      open: (options, { isDevelopment, logger }) =>
        openAwsKmsSource(options, { ...(logger && { logger }), allowPlainHttp: isDevelopment }),
    }
  },
}

/** Largest file that is read, in bytes. */
const MAX_FILE_BYTES = 64 * 1024
const WRITABLE_BY_OTHERS = 0o022

const ProvidersFile = Type.Object(
  {
    keys: Type.Array(
      Type.Object({
        // Without a colon: what comes after one is a source's own version.
        name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' }),
        provider: Type.String({ minLength: 1, maxLength: 32 }),
      }),
      { maxItems: 32 },
    ),
  },
  { additionalProperties: false },
)

/**
 * The key sources of a file `{"keys": [{"name": …, "provider": "file" | "vault" | "pkcs11" | "aws-kms", …}]}`.
 *
 * The file holds no secrets; tokens and PINs are files that it names. Reading it again keeps what was not changed as it is.
 */
export class ConfiguredSources {
  readonly #file: PrivateFile
  readonly #context: SourceContext
  #opened: ReadonlyMap<string, KeySource> = new Map()

  constructor(path: string, context: SourceContext) {
    // Whoever can write it decides where keys come from.
    const forbiddenMode = context.isDevelopment ? 0 : WRITABLE_BY_OTHERS
    this.#file = { path, what: 'key providers file', maxBytes: MAX_FILE_BYTES, forbiddenMode }
    this.#context = context
  }

  /**
   * Reads the file and opens what is new in it.
   *
   * Throws KeyProviderError ERR_KEY_FILE_UNREADABLE, ERR_KEY_FILE_PERMISSIONS for a file that others may write,
   * ERR_KEY_CONFIGURATION with the entry and the field, or what a source throws at its opening;
   * then the sources stay what they were. Sources that are not in the file any more are left to the caller to destroy.
   */
  async load(): Promise<readonly KeySource[]> {
    const entries = await withPrivateFile(this.#file, content => parse(content.toString('utf8'), this.#file.path))
    const next = new Map<string, KeySource>()
    const fresh: KeySource[] = []
    try {
      for (const entry of entries) {
        const text = JSON.stringify(entry)
        const known = this.#opened.get(text)
        const source = known ?? (await openEntry(entry, this.#context))
        if (known === undefined) fresh.push(source)
        next.set(text, source)
      }
    } catch (error) {
      for (const source of fresh) source.destroy()
      throw error
    }
    this.#opened = next
    return [...next.values()]
  }
}

type Entry = { readonly name: string; readonly provider: string }

async function openEntry(entry: Entry, context: SourceContext): Promise<KeySource> {
  const { name } = entry
  const load = Object.hasOwn(OPENERS, entry.provider) ? OPENERS[entry.provider] : undefined
  if (load === undefined) {
    const known = Object.keys(OPENERS).join(', ')
    throw configuration(`provider is none of ${known}`, { name, field: 'provider' })
  }
  const { schema, open: openSource } = await load()
  if (!Value.Check(schema, entry)) {
    const field = Value.Errors(schema, entry).First()?.path.slice(1).replaceAll('/', '.') ?? ''
    throw configuration('a field of a key source is not right', { name, field })
  }
  return await openSource(entry as never, context)
}

function parse(text: string, path: string): Entry[] {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    throw configuration('key providers file is not JSON', { path })
  }
  if (!Value.Check(ProvidersFile, document)) {
    const field = Value.Errors(ProvidersFile, document).First()?.path.slice(1).replaceAll('/', '.') ?? ''
    throw configuration('key providers file is not in form', { path, field })
  }
  const names = document.keys.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) throw configuration('two key sources have one name', { path, name: twice })
  return document.keys
}

function configuration(message: string, facts: Record<string, string>): KeyProviderError {
  return new KeyProviderError('ERR_KEY_CONFIGURATION', message, facts)
}
