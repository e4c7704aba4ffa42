import { KMSClient } from '@aws-sdk/client-kms'
import { KeyProviderError } from '../errors.ts'
import { TIMEOUT } from './failures.ts'

export interface KmsClientOptions {
  readonly region: string
  readonly endpoint?: string | undefined
  readonly timeoutMs: number
  readonly allowPlainHttp: boolean
}

/** First try and retries of one call, all within its time. */
const MAX_ATTEMPTS = 3
/** Far above any answer of the operations used here. */
const MAX_ANSWER_BYTES = 64 * 1024

/**
 * The SDK's client with what a place of keys needs: bounded time, answers and retries, and HTTPS whatever the
 * environment or a profile says about endpoints.
 */
export function newKmsClient({ region, endpoint, timeoutMs, allowPlainHttp }: KmsClientOptions): KMSClient {
  const client = new KMSClient({
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    maxAttempts: MAX_ATTEMPTS,
    retryMode: 'standard',
    requestHandler: {
      connectionTimeout: timeoutMs,
      // One connection that hangs leaves time for another.
      requestTimeout: Math.ceil(timeoutMs / MAX_ATTEMPTS),
      throwOnRequestTimeout: true,
    },
  })
  client.middlewareStack.add(
    (next, { clientName }) =>
      async args => {
        const { protocol } = args.request as { protocol?: string }
        if (protocol !== 'https:' && !(allowPlainHttp && protocol === 'http:')) {
          const facts = { field: 'endpoint', client: clientName ?? 'KMSClient' }
          throw new KeyProviderError('ERR_KEY_CONFIGURATION', 'the endpoint of KMS is not HTTPS', facts)
        }
        return await next(args)
      },
    { step: 'finalizeRequest', name: 'rapHttpsOnly', priority: 'high' },
  )
  client.middlewareStack.add(
    next => async args => {
      const result = await next(args)
      bound((result.response as { body?: unknown }).body)
      return result
    },
    // Nearest to the network, in front of whatever reads the body.
    { step: 'deserialize', name: 'rapBoundedAnswer', priority: 'low' },
  )
  return client
}

/**
 * Runs a call until its answer, its deadline, which also covers the search for credentials, or the end that `abort`
 * makes. Throws what the SDK throws, or a `TimeoutError`. A data key that comes too late is zeroed.
 */
export async function withDeadline<Output extends object>(
  timeoutMs: number,
  abort: AbortController,
  send: (abortSignal: AbortSignal) => Promise<Output>,
): Promise<Output> {
  const { signal } = abort
  const timer = setTimeout(() => abort.abort(), timeoutMs)
  const ended = new Promise<never>((_, reject) => {
    const error = Object.assign(new Error(TIMEOUT), { name: 'TimeoutError' })
    signal.addEventListener('abort', () => reject(error), { once: true })
  })
  const sent = send(signal)
  const tooLate = (output: { readonly Plaintext?: Uint8Array }) => void (signal.aborted && output.Plaintext?.fill(0))
  // What fails after the end is nobody's any more.
  sent.then(tooLate, () => {})
  try {
    return await Promise.race([ended, sent])
  } finally {
    clearTimeout(timer)
  }
}

interface Body {
  on(event: 'data', listener: (chunk: Uint8Array) => void): unknown
  pause(): unknown
  destroy(error: Error): unknown
}

function bound(body: unknown): void {
  if (typeof (body as Partial<Body> | undefined)?.destroy !== 'function') return
  const stream = body as Body
  let size = 0
  stream.on('data', chunk => {
    size += chunk.length
    if (size > MAX_ANSWER_BYTES)
      stream.destroy(Object.assign(new Error('answer is too long'), { name: 'AnswerTooLong' }))
  })
  // The reader that comes next starts the flow.
  stream.pause()
}
