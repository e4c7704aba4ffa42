import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { KmsRefusal } from './answers.ts'

export interface KmsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

export interface SignedRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface SignatureScope {
  readonly region: string
  readonly credentials: KmsCredentials
  /** Milliseconds since 1970. */
  readonly now: number
}

const MAX_SKEW_MS = 15 * 60 * 1000
const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/
/** A request whose operation or session could be swapped would be another request. */
const MUST_BE_SIGNED = ['host', 'x-amz-date', 'x-amz-target', 'x-amz-security-token']

/**
 * Checks Signature Version 4 of a request (AWS General Reference, "Signing AWS API requests").
 *
 * Throws KmsRefusal as the service's front door does.
 */
export function checkSignature(request: SignedRequest, { region, credentials, now }: SignatureScope): void {
  const { headers } = request
  if (headers.authorization === undefined) {
    throw new KmsRefusal('MissingAuthenticationTokenException', 'Missing Authentication Token')
  }
  const [, accessKeyId, date = '', scopeRegion, service, signedHeaders = '', signature = ''] =
    AUTHORIZATION.exec(headers.authorization) ?? []
  if (accessKeyId === undefined) throw new KmsRefusal('IncompleteSignatureException', 'header is not in form')
  const { accessKeyId: known, secretAccessKey, sessionToken } = credentials
  if (accessKeyId !== known || headers['x-amz-security-token'] !== sessionToken) {
    throw new KmsRefusal('UnrecognizedClientException', 'The security token included in the request is invalid.')
  }
  if (scopeRegion !== region || service !== 'kms') throw invalid('credential is scoped to another place')
  const time = String(headers['x-amz-date'])
  if (!time.startsWith(date) || Math.abs(timeOf(time) - now) > MAX_SKEW_MS) throw invalid('Signature expired')
  const names = signedHeaders.split(';')
  const missing = MUST_BE_SIGNED.find(name => headers[name] !== undefined && !names.includes(name))
  if (missing !== undefined) throw invalid(`${missing} is not signed`)
  const canonicalHeaders = names.map(
    name =>
      `${name}:${String(headers[name] ?? '')
        .trim()
        .replace(/ +/g, ' ')}\n`,
  )
  const canonical = [request.method, request.path, '', canonicalHeaders.join(''), signedHeaders, sha256(request.body)]
  const scope = `${date}/${region}/kms/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical.join('\n'))].join('\n')
  const key = [date, region, 'kms', 'aws4_request'].reduce<Buffer | string>(hmac, `AWS4${secretAccessKey}`)
  if (!timingSafeEqual(hmac(key, toSign), Buffer.from(signature, 'hex'))) {
    throw invalid('The request signature we calculated does not match the signature you provided.')
  }
}

const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex')
const hmac = (key: Buffer | string, data: string): Buffer => createHmac('sha256', key).update(data).digest()
const invalid = (message: string) => new KmsRefusal('InvalidSignatureException', message)

function timeOf(basic: string): number {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(basic) ?? []
  return Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`)
}
