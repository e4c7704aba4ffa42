import { createRequire } from 'node:module'
import { threadId } from 'node:worker_threads'
import type * as Pkcs11 from 'pkcs11js'
import type { Failure, Trouble } from './messages.ts'

/** The native module. INVARIANT: only a thread for HSM calls imports this file, so that nothing else loads it. */
export const p11 = createRequire(import.meta.url)('pkcs11js') as typeof Pkcs11
export type Handle = Pkcs11.Handle
export type Library = Pkcs11.PKCS11

const CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191

/** A failure on its way to the main thread. */
export class Pkcs11Failure extends Error {
  readonly failure: Failure

  constructor(failure: Failure) {
    super(failure.trouble ?? `CKR 0x${failure.ckr?.toString(16)}`)
    this.failure = failure
  }
}

export function trouble(at: string, trouble: Trouble, detail?: string): Pkcs11Failure {
  return new Pkcs11Failure({ at, trouble, ...(detail === undefined ? {} : { detail }) })
}

/** Loads the vendor's library and initializes it for several threads; another thread of this process may have done so. */
export function openLibrary(path: string): Library {
  const library = new p11.PKCS11()
  try {
    library.load(path)
  } catch (error) {
    // The loader's words name a path and what is missing there.
    throw trouble('load', 'load_failed', String((error as Error).message).slice(0, 300))
  }
  try {
    call('C_Initialize', () => library.C_Initialize({ flags: p11.CKF_OS_LOCKING_OK }))
  } catch (error) {
    if ((error as Pkcs11Failure).failure?.ckr !== CKR_CRYPTOKI_ALREADY_INITIALIZED) throw error
  }
  return library
}

/** Calls the library; what it refuses becomes a Pkcs11Failure with the function's name and its return value. */
export function call<Result>(at: string, run: () => Result): Result {
  try {
    return run()
  } catch (error) {
    const ckr = (error as { code?: unknown }).code
    if (error instanceof p11.Pkcs11Error && typeof ckr === 'number') throw new Pkcs11Failure({ at, ckr })
    throw new Error(`${at} failed in thread ${threadId}`, { cause: error })
  }
}
