export { openPkcs11Source, type Pkcs11SourceDeps } from './open-pkcs11-source.ts'
export { Pkcs11SourceOptions } from './options.ts'
