/** Pause in which refused channels are gathered, in milliseconds: a client and a target name theirs within a second. */
const GATHER_MS = 1000
/** Longest list in one row of the audit, in characters; a detail there has 512. */
const MAX_LIST_CHARACTERS = 500

/**
 * Gathers the channels that a session was refused, so that they are few rows of the audit, whoever asks for how many.
 *
 * An entry is the kind and the name, such as `static rdpsnd`; a comma in a name, which no channel has, shows as `?`.
 */
export class RefusedChannels {
  readonly #tell: (channels: string) => void
  #names: string[] = []
  #timer: NodeJS.Timeout | undefined

  /** `tell` is given lists such as `static rdpdr, transport udp`. */
  constructor(tell: (channels: string) => void) {
    this.#tell = tell
  }

  add(kind: string, name: string): void {
    this.#names.push(`${kind} ${name.replaceAll(',', '?')}`)
    this.#timer ??= setTimeout(() => this.flush(), GATHER_MS)
  }

  /** Tells what was gathered. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    let list = ''
    for (const name of this.#names) {
      if (list !== '' && list.length + 2 + name.length > MAX_LIST_CHARACTERS) {
        this.#tell(list)
        list = ''
      }
      list = list === '' ? name : `${list}, ${name}`
    }
    this.#names = []
    if (list !== '') this.#tell(list)
  }
}
