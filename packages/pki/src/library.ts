// @peculiar/x509 finds its parts through decorators, which need the metadata polyfill before it is loaded.
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'

x509.cryptoProvider.set(globalThis.crypto)

export { x509 }
