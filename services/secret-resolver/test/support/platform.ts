import { randomUUID } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { certificateThumbprint, createAuthority, issueCertificate, spiffeId } from '@rap/pki'
import { publicJwkOf } from '@rap/token-claims'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK } from 'jose'
import type { Test } from 'tap'
import type { ClientTls } from './https.ts'

export const TRUST_DOMAIN = 'rap.test'

/** A client or server certificate of the platform, and what it is known by. */
export interface Identity extends ClientTls {
  readonly cert: string
  readonly key: string
  readonly id: string
  readonly thumbprint: string
}

export interface Platform {
  readonly ca: string
  identity(kind: 'service' | 'worker', id?: string): Promise<Identity>
  /** A certificate of the platform CA that carries no SPIFFE ID. */
  nameless(): Promise<Identity>
}

export async function createPlatform(): Promise<Platform> {
  const now = new Date()
  const authority = await createAuthority({ name: 'Test platform CA', days: 2, now })
  const ca = authority.certificatePem
  const issue = async (id: string, uris: string[]): Promise<Identity> => {
    const issued = await issueCertificate({
      authority,
      commonName: id,
      usages: ['server', 'client'],
      now,
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1'],
      uris,
    })
    const { certificatePem: cert, keyPem: key } = issued
    return { ca, cert, key, id, thumbprint: certificateThumbprint(cert) }
  }
  return {
    ca,
    identity: (kind, id = randomUUID()) => issue(id, [spiffeId(TRUST_DOMAIN, kind, id)]),
    nameless: () => issue('nameless', []),
  }
}

/** A signing key of the control plane. */
export interface TokenSigner {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly jwk: JWK
}

export async function createSigner(): Promise<TokenSigner> {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
  const jwk = await publicJwkOf(publicKey)
  return { kid: jwk.kid, privateKey, jwk }
}

/** Publishes a key set over HTTPS as the control plane does; `keys` may be changed while it runs. */
export async function serveKeys(t: Test, identity: Identity, keys: JWK[]) {
  const server = createServer({ cert: identity.cert, key: identity.key }, (request, response) => {
    state.requests += 1
    if (request.url !== '/.well-known/jwks.json' || state.status !== 200) {
      response.writeHead(state.status === 200 ? 404 : state.status).end()
      return
    }
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(state.body ?? JSON.stringify({ keys: state.keys }))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(
    () =>
      new Promise(resolve => {
        server.close(resolve)
        server.closeAllConnections()
      }),
  )
  const { port } = server.address() as AddressInfo
  const state: { url: string; keys: JWK[]; status: number; requests: number; body?: string } = {
    url: `https://127.0.0.1:${port}/.well-known/jwks.json`,
    keys,
    status: 200,
    requests: 0,
  }
  return state
}

export async function recipientKey(): Promise<{
  jwk: { kty: 'EC'; crv: 'P-256'; x: string; y: string }
  privateKey: CryptoKey
}> {
  const { privateKey, publicKey } = await generateKeyPair('ECDH-ES', { crv: 'P-256' })
  const { x, y } = await exportJWK(publicKey)
  return { jwk: { kty: 'EC', crv: 'P-256', x: x!, y: y! }, privateKey }
}
