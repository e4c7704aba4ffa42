import { randomBytes, randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createContractServer } from '../contract-server.ts'
import { KmsRefusal, type Members } from './answers.ts'
import { commit, type KmsFault } from './faults.ts'
import { type KmsKey, type KmsKeyState, newKmsKey } from './keys.ts'
import { type KmsOperation, OPERATIONS } from './operations.ts'
import { checkSignature, type KmsCredentials } from './sigv4.ts'

export interface KmsOptions {
  /** Default `eu-central-1`. */
  readonly region?: string
  /** HTTPS with a certificate of `caPem`; default plain HTTP. */
  readonly tls?: boolean
  /** With a session token, as roles have them. */
  readonly temporaryCredentials?: boolean
}

export interface KmsRequest {
  readonly operation: string
  readonly input: Members
  /** Everything that came, for a search. */
  readonly raw: string
}

export interface KmsServer {
  readonly endpoint: string
  readonly region: string
  readonly credentials: KmsCredentials
  /** For a process whose SDK is to find these credentials and no others. */
  readonly env: Readonly<Record<string, string>>
  /** The authority of an HTTPS server; empty for plain HTTP. */
  readonly caPem: string
  readonly requests: readonly KmsRequest[]
  /** The ARN of a new key. */
  createKey(key?: { readonly spec?: string; readonly usage?: string }): string
  setState(arn: string, state: KmsKeyState, deletionDate?: Date): void
  /** A new backing key, as the yearly rotation makes one. */
  rotate(arn: string): void
  deleteKey(arn: string): void
  /** For the next `times` requests of these operations, default every one until `clearFaults`. */
  fault(fault: KmsFault, options?: { readonly operations?: readonly KmsOperation[]; readonly times?: number }): void
  clearFaults(): void
  stop(): Promise<void>
}

const MAX_BODY_BYTES = 64 * 1024
const TARGET = /^TrentService\.(\w+)$/

interface ActiveFault {
  readonly fault: KmsFault
  readonly operations: readonly string[] | undefined
  left: number
}

/**
 * A server that follows the published HTTP contract of AWS KMS (JSON 1.1, `X-Amz-Target: TrentService.…`) for the
 * operations that wrap data keys, with real cryptography and real Signature Version 4. It refuses what KMS refuses.
 */
export async function startKms(options: KmsOptions = {}): Promise<KmsServer> {
  const region = options.region ?? 'eu-central-1'
  const credentials: KmsCredentials = {
    accessKeyId: `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
    secretAccessKey: randomBytes(30).toString('hex'),
    ...(options.temporaryCredentials === true ? { sessionToken: randomBytes(60).toString('hex') } : {}),
  }
  const keys = new Map<string, KmsKey>()
  const requests: KmsRequest[] = []
  let faults: ActiveFault[] = []

  const takeFault = (operation: string): KmsFault | undefined => {
    const active = faults.find(({ operations, left }) => left > 0 && (operations?.includes(operation) ?? true))
    if (active !== undefined) active.left -= 1
    return active?.fault
  }

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    response.setHeader('x-amzn-requestid', randomUUID())
    try {
      const body = await bodyOf(request)
      const operation = operationOf(request)
      requests.push({ operation, input: membersOf(body), raw: `${request.rawHeaders.join('\n')}\n\n${body}` })
      const signed = { method: 'POST', path: request.url ?? '', headers: request.headers, body }
      checkSignature(signed, { region, credentials, now: Date.now() })
      const fault = takeFault(operation)
      if (fault !== undefined && commit(fault, response)) return
      const output = OPERATIONS[operation](keys, membersOf(body))
      send(response, 200, fault?.kind === 'members' ? { ...output, ...fault.members } : output)
    } catch (error) {
      if (!(error instanceof KmsRefusal)) throw error
      send(response, error.status, error.body)
    }
  }

  const { server, caPem } = await createContractServer(
    { name: 'kms', tls: options.tls === true, dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] },
    (request, response) => {
      // A client that gave up is no trouble of the server.
      handle(request, response).catch(() => response.destroy())
    },
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const keyOf = (arn: string): KmsKey => {
    const key = keys.get(arn)
    if (key === undefined) throw new TypeError('there is no such key')
    return key
  }
  return {
    endpoint: `${options.tls === true ? 'https' : 'http'}://localhost:${port}`,
    region,
    credentials,
    env: environmentOf(credentials),
    caPem,
    requests,
    createKey({ spec = 'SYMMETRIC_DEFAULT', usage = 'ENCRYPT_DECRYPT' } = {}) {
      const key = newKmsKey(region, spec, usage)
      keys.set(key.arn, key)
      return key.arn
    },
    setState: (arn, state, deletionDate) => void Object.assign(keyOf(arn), { state, deletionDate }),
    rotate: arn => void keyOf(arn).backing.push(randomBytes(32)),
    deleteKey: arn => void keys.delete(arn),
    fault: (fault, { operations, times = Number.POSITIVE_INFINITY } = {}) =>
      void faults.push({ fault, operations, left: times }),
    clearFaults: () => {
      faults = []
    },
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function environmentOf({ accessKeyId, secretAccessKey, sessionToken }: KmsCredentials): Record<string, string> {
  return {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    ...(sessionToken === undefined ? {} : { AWS_SESSION_TOKEN: sessionToken }),
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += (chunk as Buffer).length
    if (size > MAX_BODY_BYTES) throw new KmsRefusal('SerializationException', 'request is too large')
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

function operationOf({ method, url, headers }: IncomingMessage): KmsOperation {
  const [, name = ''] = TARGET.exec(String(headers['x-amz-target'])) ?? []
  if (method !== 'POST' || url !== '/' || !Object.hasOwn(OPERATIONS, name)) {
    throw new KmsRefusal('UnknownOperationException', '')
  }
  if (headers['content-type'] !== 'application/x-amz-json-1.1') throw new KmsRefusal('SerializationException', '')
  return name as KmsOperation
}

function membersOf(body: Buffer): Members {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Members
  } catch {
    // Said below.
  }
  throw new KmsRefusal('SerializationException', '')
}

function send(response: ServerResponse, status: number, body: Members): void {
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body))
}
