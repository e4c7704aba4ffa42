export { openVaultSource, type VaultSourceDeps } from './open-vault-source.ts'
export { VaultSourceOptions } from './options.ts'
