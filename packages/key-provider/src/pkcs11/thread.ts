import { parentPort, workerData } from 'node:worker_threads'
import { decrypt, encrypt, prove } from './cipher.ts'
import { mayReconnect } from './failures.ts'
import { createKey } from './key-object.ts'
import { type Library, openLibrary, Pkcs11Failure } from './library.ts'
import type { Failure, FromThread, Request, ToThread } from './messages.ts'
import { type PinRequest, TokenSession } from './token-session.ts'

/**
 * A thread that calls the PKCS#11 library: its calls block, for milliseconds with a network HSM and for as long as the
 * network takes without one, and neither the event loop nor the threads of `fs` and DNS may wait for that.
 *
 * INVARIANT: one request at a time.
 */
const port = parentPort
if (port === null) throw new TypeError('this file is a thread')
const modulePath = (workerData as { module: string }).module

let library: Library | undefined
const sessions = new Map<string, TokenSession>()
let loginAnswered: ((answer: Uint8Array | Failure) => void) | undefined

const tell = (message: FromThread, moved: ArrayBuffer[] = []): void => port.postMessage(message, moved)

port.on('message', async (message: ToThread) => {
  if (message.kind === 'pin') return loginAnswered?.(message.pin)
  if (message.kind === 'no-pin') return loginAnswered?.(message.failure)
  if (message.kind === 'close-token') return drop(message.tokenLabel)
  if (message.kind === 'restart-library') {
    finalize()
    return tell({ kind: 'restarted' })
  }
  if (message.kind === 'end') {
    for (const label of [...sessions.keys()]) drop(label)
    return port.close()
  }
  const { request } = message
  try {
    const output = await answer(request)
    if (output === undefined) tell({ kind: 'done' })
    else tell({ kind: 'done', output }, [output.buffer])
  } catch (error) {
    tell({ kind: 'failed', failure: failureOf(error) })
  } finally {
    // The data key, where this was a wrap.
    if ('input' in request) request.input.fill(0)
  }
})
tell({ kind: 'ready' })

async function answer(request: Request): Promise<Uint8Array<ArrayBuffer> | undefined> {
  // A session that is new and fails says how it is; an older one gets a second chance with a new one.
  for (let isNew = !sessions.has(request.tokenLabel); ; isNew = true) {
    try {
      return run(await sessionOf(request.tokenLabel), request)
    } catch (error) {
      if (leavesSessionWell(error)) throw error
      drop(request.tokenLabel)
      if (isNew || !mayHelp(error)) throw error
    }
  }
}

function run(session: TokenSession, request: Request): Uint8Array<ArrayBuffer> | undefined {
  const { library, handle } = session
  if (request.kind === 'create') {
    session.readWrite(writable => createKey(library, writable, request.keyLabel))
    return undefined
  }
  const key = session.key(request.keyLabel)
  if (request.kind === 'wrap') return encrypt(library, handle, key, request)
  if (request.kind === 'unwrap') return decrypt(library, handle, key, request)
  prove(library, handle, key)
  return undefined
}

/** A refusal that the token gave in full health; after any other the session's state is unknown. */
function leavesSessionWell(error: unknown): boolean {
  return error instanceof Pkcs11Failure && error.failure.trouble !== undefined && !looksEmpty(error)
}

function mayHelp(error: unknown): boolean {
  if (!(error instanceof Pkcs11Failure)) return false
  return looksEmpty(error) || (error.failure.ckr !== undefined && mayReconnect(error.failure.ckr))
}

/** A session with a token that was taken away may still answer, with no objects. */
function looksEmpty(error: Pkcs11Failure): boolean {
  return error.failure.trouble === 'key_missing'
}

async function sessionOf(tokenLabel: string): Promise<TokenSession> {
  library ??= openLibrary(modulePath)
  const open = sessions.get(tokenLabel)
  if (open !== undefined) return open
  const session = await TokenSession.open(library, tokenLabel, askForPin)
  sessions.set(tokenLabel, session)
  return session
}

async function askForPin(): Promise<PinRequest> {
  const answer = await new Promise<Uint8Array | Failure>(resolve => {
    loginAnswered = resolve
    tell({ kind: 'pin-wanted' })
  })
  loginAnswered = undefined
  return {
    pin: answer instanceof Uint8Array ? Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength) : answer,
    settled: failure => tell({ kind: 'login', ...(failure === undefined ? {} : { failure }) }),
  }
}

function drop(tokenLabel: string): void {
  sessions.get(tokenLabel)?.close()
  sessions.delete(tokenLabel)
}

/** The next request initializes the library again. */
function finalize(): void {
  sessions.clear()
  try {
    library?.C_Finalize()
  } catch {
    // It was not initialized.
  }
  library = undefined
}

function failureOf(error: unknown): Failure {
  if (error instanceof Pkcs11Failure) return error.failure
  // A fault of ours or of the binding: its words may quote arguments, so they stay here.
  return { at: 'thread', trouble: 'unexpected' }
}
