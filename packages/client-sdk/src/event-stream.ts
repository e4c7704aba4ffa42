import { RapError } from './errors.ts'

/** Longest line and longest event that are kept, in characters: bounds what a server can make us hold. */
const MAX_EVENT_CHARACTERS = 64 * 1024

/** One server-sent event (HTML Standard §9.2.6). */
export interface ServerSentEvent {
  readonly id: string
  readonly type: string
  readonly data: string
}

/**
 * Splits an event stream into events; text in, events out.
 * Throws RapError ERR_RESPONSE_TOO_LARGE for a line or an event over the bound.
 */
export class EventStreamParser {
  #rest = ''
  #data: string[] = []
  #size = 0
  #type = ''
  #id = ''
  /** A CR that ended the last text may be the first half of a CRLF. */
  #afterCarriageReturn = false

  push(text: string): ServerSentEvent[] {
    const input = this.#afterCarriageReturn && text.startsWith('\n') ? text.slice(1) : text
    if (text !== '') this.#afterCarriageReturn = text.endsWith('\r')
    const lines = (this.#rest + input).split(/\r\n|\r|\n/)
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > MAX_EVENT_CHARACTERS) throw tooLarge()
    return lines.flatMap(line => this.#line(line) ?? [])
  }

  #line(line: string): ServerSentEvent | undefined {
    if (line === '') return this.#dispatch()
    if (line.startsWith(':')) return undefined
    const colon = line.indexOf(':')
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    this.#size += line.length
    if (this.#size > MAX_EVENT_CHARACTERS) throw tooLarge()
    if (field === 'data') this.#data.push(value)
    else if (field === 'event') this.#type = value
    else if (field === 'id' && !value.includes('\0')) this.#id = value
    return undefined
  }

  #dispatch(): ServerSentEvent | undefined {
    const event = { id: this.#id, type: this.#type || 'message', data: this.#data.join('\n') }
    const isEmpty = this.#data.length === 0
    this.#data = []
    this.#type = ''
    this.#size = 0
    return isEmpty ? undefined : event
  }
}

function tooLarge(): RapError {
  return new RapError('ERR_RESPONSE_TOO_LARGE', 'event is over the bound')
}
