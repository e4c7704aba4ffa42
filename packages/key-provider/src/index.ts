export { ConfiguredSources, type SourceContext } from './configured-sources.ts'
export {
  isKeyConfigurationError,
  KeyProviderError,
  type KeyProviderErrorCode,
  type KeyProviderFacts,
} from './errors.ts'
export { KeyRing } from './key-ring.ts'
export { KEY_BYTES, type LocalKeyOptions, LocalKeyProvider } from './local/local-key.ts'
export { type LocalKeySource, openLocalKey } from './local/open-local-key.ts'
export type { SourceLogger } from './logger.ts'
export {
  DATA_KEY_BYTES,
  type GeneratedDataKey,
  isKeyId,
  type KeyDescription,
  type KeyProvider,
  MAX_CONTEXT_BYTES,
  MAX_DATA_KEY_BYTES,
  type WrappedKey,
} from './provider.ts'
export { type KeySource, singleKeySource } from './source.ts'
