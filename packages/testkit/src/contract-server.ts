import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type CertificateOptions, createAuthority, issueCertificate } from '@rap/pki'

export type ContractListener = (request: IncomingMessage, response: ServerResponse) => void

export interface ContractServerOptions extends Pick<CertificateOptions, 'dnsNames' | 'ipAddresses'> {
  readonly name: string
  readonly tls: boolean
}

/**
 * The server under a contract server, not listening yet: plain HTTP, or HTTPS for the given names with an authority of its
 * own, whose certificate is `caPem` (empty for plain HTTP).
 */
export async function createContractServer(
  { name, tls, ...names }: ContractServerOptions,
  listener: ContractListener,
): Promise<{ server: Server; caPem: string }> {
  if (!tls) return { server: createHttpServer(listener), caPem: '' }
  const now = new Date()
  const authority = await createAuthority({ name: `${name} contract server`, days: 2, now })
  const { certificatePem, keyPem } = await issueCertificate({
    authority,
    commonName: name,
    ...names,
    usages: ['server'],
    now,
  })
  return { server: createHttpsServer({ cert: certificatePem, key: keyPem }, listener), caPem: authority.certificatePem }
}
