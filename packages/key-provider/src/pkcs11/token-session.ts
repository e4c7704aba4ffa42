import { findKey } from './key-object.ts'
import { call, type Handle, type Library, Pkcs11Failure, p11, trouble } from './library.ts'
import type { Failure } from './messages.ts'

const CKR_USER_ALREADY_LOGGED_IN = 0x100
const CKS_RO_USER_FUNCTIONS = 1
const CKS_RW_USER_FUNCTIONS = 3
/** Bounds what is listed of a place with very many slots. */
const MAX_LABELS_TOLD = 8

/** Asks the main thread for the PIN; what came of the log-in is told through `settled`. */
export interface PinRequest {
  /** Or why no log-in may be tried. */
  readonly pin: Buffer | Failure
  settled(failure?: Failure): void
}
export type AskForPin = () => Promise<PinRequest>

/** This thread's session with one token, and the keys that it has found there. */
export class TokenSession {
  readonly library: Library
  readonly handle: Handle
  readonly slot: Handle
  readonly #keys = new Map<string, Handle>()

  private constructor(library: Library, slot: Handle, handle: Handle) {
    this.library = library
    this.slot = slot
    this.handle = handle
  }

  /** Finds the token, opens a session and logs in where nobody of this process is logged in yet. */
  static async open(library: Library, tokenLabel: string, askForPin: AskForPin): Promise<TokenSession> {
    const slot = findSlot(library, tokenLabel)
    const handle = call('C_OpenSession', () => library.C_OpenSession(slot, p11.CKF_SERIAL_SESSION))
    const session = new TokenSession(library, slot, handle)
    try {
      if (!session.#isLoggedIn()) await session.#logIn(askForPin)
    } catch (error) {
      session.close()
      throw error
    }
    return session
  }

  /** The handle of a key that was found fit. */
  key(label: string): Handle {
    const known = this.#keys.get(label)
    if (known !== undefined) return known
    const found = findKey(this.library, this.handle, label)
    this.#keys.set(label, found)
    return found
  }

  /** Runs with a session of its own that may write; the log-in is the process's. */
  readWrite<Result>(run: (session: Handle) => Result): Result {
    const flags = p11.CKF_SERIAL_SESSION | p11.CKF_RW_SESSION
    const handle = call('C_OpenSession', () => this.library.C_OpenSession(this.slot, flags))
    try {
      return run(handle)
    } finally {
      closeSession(this.library, handle)
    }
  }

  close(): void {
    closeSession(this.library, this.handle)
  }

  /** PKCS#11 v2.40 §5.6: all sessions of a process with a token share one log-in. */
  #isLoggedIn(): boolean {
    const { state } = call('C_GetSessionInfo', () => this.library.C_GetSessionInfo(this.handle))
    return state === CKS_RO_USER_FUNCTIONS || state === CKS_RW_USER_FUNCTIONS
  }

  async #logIn(askForPin: AskForPin): Promise<void> {
    const { pin, settled } = await askForPin()
    try {
      // While this thread waited for its turn, another one may have logged in.
      if (!this.#isLoggedIn()) this.#logInWith(pin)
      settled()
    } catch (error) {
      settled(error instanceof Pkcs11Failure ? error.failure : undefined)
      throw error
    } finally {
      if (Buffer.isBuffer(pin)) pin.fill(0)
    }
  }

  #logInWith(pin: Buffer | Failure): void {
    if (!Buffer.isBuffer(pin)) throw new Pkcs11Failure(pin)
    const { flags } = call('C_GetTokenInfo', () => this.library.C_GetTokenInfo(this.slot))
    if ((flags & p11.CKF_USER_PIN_LOCKED) !== 0) throw trouble('C_Login', 'pin_locked')
    // A service that is restarted again and again must not use up the tries of the people.
    if ((flags & p11.CKF_USER_PIN_FINAL_TRY) !== 0) throw trouble('C_Login', 'pin_final_try')
    try {
      // The native module takes a string only; it lives in this thread's heap and is not kept.
      call('C_Login', () => this.library.C_Login(this.handle, p11.CKU_USER, pin.toString('utf8')))
    } catch (error) {
      if ((error as Pkcs11Failure).failure?.ckr !== CKR_USER_ALREADY_LOGGED_IN) throw error
    }
  }
}

function closeSession(library: Library, handle: Handle): void {
  try {
    library.C_CloseSession(handle)
  } catch {
    // It is gone already, with the token or by the library.
  }
}

function findSlot(library: Library, tokenLabel: string): Handle {
  const slots = call('C_GetSlotList', () => library.C_GetSlotList(true))
  const tokens = slots.flatMap(slot => {
    try {
      return [{ slot, label: library.C_GetTokenInfo(slot).label.trimEnd() }]
    } catch {
      // A token that was pulled out, or one that is not ours and ill.
      return []
    }
  })
  const [match, second] = tokens.filter(({ label }) => label === tokenLabel)
  if (second !== undefined) throw trouble('C_GetTokenInfo', 'token_ambiguous')
  if (match !== undefined) return match.slot
  const labels = tokens.map(({ label }) => label).filter(label => label !== '')
  throw trouble(
    'C_GetSlotList',
    'token_missing',
    `tokens here: ${labels.slice(0, MAX_LABELS_TOLD).join(', ') || 'none'}`,
  )
}
