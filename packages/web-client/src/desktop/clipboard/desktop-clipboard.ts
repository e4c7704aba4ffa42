import type { RemoteClipboard } from './remote-clipboard.ts'

/** What may go which way, and how much of it. */
export interface ClipboardRules {
  readonly toDesktop: boolean
  readonly fromDesktop: boolean
  /** Of one text, as UTF-16. */
  readonly maxBytes: number
}

/** From the browser to the desktop: by itself, after one question of the browser, with each press of the button, or not. */
export type ToDesktop = 'off' | 'automatic' | 'ask' | 'manual' | 'denied' | 'unsupported'
/** From the desktop to the browser: nothing there yet, copied, or copied once the person clicks. */
export type FromDesktop = 'off' | 'empty' | 'copied' | 'waiting'

export interface ClipboardState {
  readonly toDesktop: ToDesktop
  readonly fromDesktop: FromDesktop
}

/** How a press of "Paste to the desktop" went. */
export type Pasted = 'sent' | 'same' | 'nothing' | 'too_large' | 'refused'

const PERMISSION = { name: 'clipboard-read' } as unknown as PermissionDescriptor
const OF_PERMISSION: Readonly<Record<PermissionState, ToDesktop>> = {
  granted: 'automatic',
  prompt: 'ask',
  denied: 'denied',
}

/**
 * Keeps the browser's clipboard and the desktop's in step, as far as policy and the browser allow.
 *
 * INVARIANT: the browser's clipboard is never read while the way to the desktop is off, and never written while the other one is.
 */
export class DesktopClipboard {
  /** Told of a text that is over the bound, once for each. */
  onTooLarge: (maxBytes: number) => void = () => undefined
  readonly #remote: RemoteClipboard
  readonly #listeners = new Set<() => void>()
  #rules: ClipboardRules
  #state: ClipboardState
  /** What both clipboards have, as far as is known, so that a text does not come back to where it was copied. */
  #shared: string | undefined
  #waiting: string | undefined
  #isReading = false

  constructor(remote: RemoteClipboard, rules: ClipboardRules) {
    this.#remote = remote
    this.#rules = rules
    this.#state = { toDesktop: firstState(rules), fromDesktop: rules.fromDesktop ? 'empty' : 'off' }
    remote.onText = text => void this.#fromDesktop(text)
  }

  get state(): ClipboardState {
    return this.#state
  }

  /** Calls `listener` after each change of the state, until the answer is called. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A policy that changed under the open desktop. */
  setRules(rules: ClipboardRules): void {
    const { toDesktop, fromDesktop } = this.#rules
    this.#rules = rules
    if (!rules.toDesktop) this.#set({ toDesktop: 'off' })
    else if (!toDesktop) this.#set({ toDesktop: firstState(rules) })
    if (!rules.fromDesktop) {
      this.#waiting = undefined
      this.#set({ fromDesktop: 'off' })
    } else if (!fromDesktop) this.#set({ fromDesktop: 'empty' })
  }

  /** Follows the browser's permission and its clipboard while the desktop is up. */
  follow(host: HTMLElement, signal: AbortSignal): void {
    void this.#followPermission(signal)
    const look = () => void this.#lookByItself()
    const returned = () => {
      look()
      if (this.#waiting !== undefined) void this.copyWaiting()
    }
    window.addEventListener('focus', returned, { signal })
    host.addEventListener('pointerenter', look, { signal })
    host.addEventListener('pointerdown', look, { signal })
    // Ahead of the V of Ctrl+V, and before the RDP client takes the key.
    window.addEventListener('keydown', ({ key }) => (key === 'Control' || key === 'Meta') && look(), {
      capture: true,
      signal,
    })
  }

  /** Sends the browser's clipboard to the desktop, on a click; the browser may ask the person first. */
  async paste(): Promise<Pasted> {
    if (!this.#rules.toDesktop) return 'refused'
    let text: string
    try {
      text = await navigator.clipboard.readText()
    } catch {
      await this.#askPermission()
      return 'refused'
    }
    await this.#askPermission()
    return await this.offer(text)
  }

  /** Sends a text to the desktop. */
  async offer(text: string): Promise<Pasted> {
    if (!this.#rules.toDesktop) return 'refused'
    if (text === '') return 'nothing'
    if (text.length * 2 > this.#rules.maxBytes) return 'too_large'
    const isSame = text === this.#shared
    this.#shared = text
    await this.#remote.offer(text)
    return isSame ? 'same' : 'sent'
  }

  /** Puts what was copied on the desktop into the browser's clipboard; false where the browser wants a click for it. */
  async copyWaiting(): Promise<boolean> {
    const text = this.#waiting
    if (text === undefined || !this.#rules.fromDesktop) return false
    try {
      await navigator.clipboard.writeText(text)
    } catch {
      this.#set({ fromDesktop: 'waiting' })
      return false
    }
    this.#shared = text
    this.#set({ fromDesktop: 'copied' })
    return true
  }

  async #fromDesktop(text: string): Promise<void> {
    if (!this.#rules.fromDesktop) return
    // Said first, so that a look at the browser's clipboard in between does not take it for new.
    this.#waiting = text
    if (document.hasFocus()) await this.copyWaiting()
    else this.#set({ fromDesktop: 'waiting' })
  }

  async #lookByItself(): Promise<void> {
    if (this.#isReading || this.#state.toDesktop !== 'automatic' || !document.hasFocus()) return
    this.#isReading = true
    try {
      const text = await navigator.clipboard.readText()
      if (text === this.#shared || text === this.#waiting) return
      if ((await this.offer(text)) !== 'too_large') return
      this.#shared = text
      this.onTooLarge(this.#rules.maxBytes)
    } catch {
      // A clipboard without text, or a permission that was just taken back: its change is told by itself.
    } finally {
      this.#isReading = false
    }
  }

  async #followPermission(signal: AbortSignal): Promise<void> {
    const status = await this.#askPermission()
    status?.addEventListener('change', () => void this.#askPermission(), { signal })
    await this.#lookByItself()
  }

  /** Firefox and Safari do not tell this permission: there each press of the button asks. */
  async #askPermission(): Promise<PermissionStatus | undefined> {
    if (!this.#rules.toDesktop || this.#state.toDesktop === 'unsupported') return undefined
    const status = await navigator.permissions?.query(PERMISSION).catch(() => undefined)
    if (this.#rules.toDesktop) this.#set({ toDesktop: status === undefined ? 'manual' : OF_PERMISSION[status.state] })
    return status
  }

  #set(change: Partial<ClipboardState>): void {
    const next = { ...this.#state, ...change }
    if (next.toDesktop === this.#state.toDesktop && next.fromDesktop === this.#state.fromDesktop) return
    this.#state = next
    for (const listener of this.#listeners) listener()
  }
}

function firstState({ toDesktop }: ClipboardRules): ToDesktop {
  if (!toDesktop) return 'off'
  // Absent on a page without TLS, and readText in older browsers.
  return typeof navigator.clipboard?.readText === 'function' ? 'manual' : 'unsupported'
}
