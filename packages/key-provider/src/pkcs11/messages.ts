/** What goes between this process's main thread and the threads that call the PKCS#11 library. */

export interface KeyAddress {
  readonly tokenLabel: string
  readonly keyLabel: string
}

/** INVARIANT: the bytes of a message are moved and not copied, so that a data key is in one thread at a time. */
export type Request = KeyAddress &
  (
    | { readonly kind: 'wrap'; readonly nonce: Uint8Array; readonly aad: Uint8Array; readonly input: Uint8Array }
    | { readonly kind: 'unwrap'; readonly nonce: Uint8Array; readonly aad: Uint8Array; readonly input: Uint8Array }
    | { readonly kind: 'check' }
    | { readonly kind: 'create' }
  )

export type ToThread =
  | { readonly kind: 'request'; readonly request: Request }
  | { readonly kind: 'pin'; readonly pin: Uint8Array }
  /** No log-in may be tried. */
  | { readonly kind: 'no-pin'; readonly failure: Failure }
  | { readonly kind: 'close-token'; readonly tokenLabel: string }
  | { readonly kind: 'restart-library' }
  | { readonly kind: 'end' }

export type FromThread =
  | { readonly kind: 'ready' }
  /** Nobody is logged in: the thread waits for `pin` or `no-pin`, and tells by `login` what came of it. */
  | { readonly kind: 'pin-wanted' }
  | { readonly kind: 'login'; readonly failure?: Failure }
  | { readonly kind: 'restarted' }
  | { readonly kind: 'done'; readonly output?: Uint8Array }
  | { readonly kind: 'failed'; readonly failure: Failure }

/** What went wrong in a thread, in words of this package or as the number of a CKR_ code. */
export interface Failure {
  /** The function of the library, or `load`. */
  readonly at: string
  readonly ckr?: number
  readonly trouble?: Trouble
  /** What an operator may see beside it: labels, attributes, the loader's words. */
  readonly detail?: string
}

export type Trouble =
  | 'load_failed'
  | 'token_missing'
  | 'token_ambiguous'
  | 'key_missing'
  | 'key_ambiguous'
  | 'key_exists'
  | 'key_unfit'
  | 'pin_final_try'
  | 'pin_locked'
  | 'pin_refused_before'
  | 'pin_file'
  | 'unwrap_failed'
  | 'busy'
  | 'thread_ended'
  | 'unexpected'
