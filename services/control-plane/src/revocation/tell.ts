import type { PeerIdentity, RevokedPart } from '@rap/service-kit'
import { problems } from '../errors.ts'

/** For the `config` of the routes where a peer learns that it is revoked: everywhere else it gets ERR_MTLS_IDENTITY. */
export const TELLS_REVOKED = {
  tellRevoked: ({ kind }: PeerIdentity, what: RevokedPart) => {
    if (what === 'certificate') return problems.ERR_CERTIFICATE_REVOKED
    return kind === 'worker' ? problems.ERR_WORKER_REVOKED : problems.ERR_IDENTITY_REVOKED
  },
}
