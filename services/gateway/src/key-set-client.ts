import { TLS_DEFAULTS } from '@rap/service-kit'
import { Agent, request } from 'undici'
import type { TrustBundle } from './trust-bundle.ts'

/** Largest key set that is read, in bytes. */
const MAX_KEY_SET_BYTES = 64 * 1024
const TIMEOUT_MS = 5000

/** Fetches the control plane's key set over TLS that chains to the platform CA; no redirect is followed. */
export function keySetClient(url: string, trust: TrustBundle): () => Promise<unknown> {
  return async () => {
    const dispatcher = new Agent({
      connect: { ...TLS_DEFAULTS, ca: await trust.read(), rejectUnauthorized: true, timeout: TIMEOUT_MS },
      maxResponseSize: MAX_KEY_SET_BYTES,
    })
    try {
      const { statusCode, body } = await request(url, {
        dispatcher,
        headers: { accept: 'application/json' },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      const text = await body.text()
      if (statusCode !== 200) throw new Error(`key set was answered with status ${statusCode}`)
      return JSON.parse(text)
    } finally {
      // Key sets are fetched minutes apart: no connection is kept for them.
      await dispatcher.destroy()
    }
  }
}
