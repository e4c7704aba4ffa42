import { credentialNameRule, isCredentialName, MAX_NAME_CHARACTERS, type NameRefusal } from './names.ts'
import { isCredentialValue, type ValueRule } from './values.ts'

/** Deepest nesting that is looked into; the metadata itself is depth 0. */
export const MAX_DEPTH = 16
/** Most values, members and elements included, that are looked at. */
export const MAX_NODES = 4096
/** Most characters of all names and texts together. */
export const MAX_TOTAL_CHARACTERS = 65_536
/** Most findings that are told; what is refused is refused by the first. */
export const MAX_FINDINGS = 32
/** Characters of a name that a path repeats. */
const MAX_PATH_NAME_CHARACTERS = 64

/** A place that holds what looks like a credential, or that could not be looked at. INVARIANT: never a value. */
export interface Finding {
  /**
   * JSON pointer (RFC 6901) from the value that was given; empty for that value itself. A name that looks like a secret by
   * itself stands there as `(hidden)`, a long one is cut.
   */
  readonly path: string
  /** `bound`: a limit of this package was reached, and nothing behind it was looked at. */
  readonly reason: 'name' | 'value' | 'bound'
  readonly rule:
    | NameRefusal
    | ValueRule
    | 'named_entry'
    | 'private_jwk'
    | 'too_deep'
    | 'too_many_values'
    | 'too_much_text'
    | 'not_json'
}

/** Stands for what a copy leaves out. */
const OMITTED = Symbol('omitted')

/** The places in a JSON value that look like credentials, in document order, at most MAX_FINDINGS. */
export function findCredentials(value: unknown): Finding[] {
  const walk = new Walk()
  walk.copy(value, { path: '', depth: 0 })
  return walk.findings
}

/**
 * A deep copy of metadata without what looks like a credential; what lies behind a bound is left out too.
 * INVARIANT: `findCredentials` finds nothing in it.
 */
export function withoutCredentials(metadata: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const copy = new Walk().copy(metadata, { path: '', depth: 0 })
  return isObject(copy) ? copy : {}
}

interface Place {
  readonly path: string
  readonly depth: number
}

/** One pass over a value that finds and copies at once, so that both see the same. */
class Walk {
  readonly findings: Finding[] = []
  #nodes = 0
  #characters = 0

  copy(value: unknown, place: Place): unknown {
    this.#nodes += 1
    if (this.#nodes > MAX_NODES) return this.#refuse(place, 'bound', 'too_many_values')
    if (value === null || typeof value === 'boolean') return value
    if (typeof value === 'number') return Number.isFinite(value) ? value : this.#refuse(place, 'value', 'not_json')
    if (typeof value === 'string') return this.#text(value, place)
    if (Array.isArray(value)) return this.#array(value, place)
    if (isObject(value)) return this.#object(value, place)
    return this.#refuse(place, 'value', 'not_json')
  }

  #text(value: string, place: Place): unknown {
    this.#characters += value.length
    if (this.#characters > MAX_TOTAL_CHARACTERS) return this.#refuse(place, 'bound', 'too_much_text')
    const rule = isCredentialValue(value)
    if (rule === undefined) return value
    return this.#refuse(place, rule === 'value_too_long' ? 'bound' : 'value', rule)
  }

  #array(values: readonly unknown[], { path, depth }: Place): unknown {
    if (depth >= MAX_DEPTH) return this.#refuse({ path, depth }, 'bound', 'too_deep')
    const kept: unknown[] = []
    for (const [index, value] of values.entries()) {
      const place = { path: `${path}/${index}`, depth: depth + 1 }
      const copy = isNamedPair(value) ? this.#refuse(place, 'name', 'named_entry') : this.copy(value, place)
      if (copy !== OMITTED) kept.push(copy)
      if (this.#nodes > MAX_NODES) break
    }
    return kept
  }

  #object(value: Readonly<Record<string, unknown>>, place: Place): unknown {
    const { path, depth } = place
    if (depth >= MAX_DEPTH) return this.#refuse(place, 'bound', 'too_deep')
    if (isNamedEntry(value)) return this.#refuse(place, 'name', 'named_entry')
    if (isPrivateJwk(value)) return this.#refuse(place, 'value', 'private_jwk')
    const kept: [string, unknown][] = []
    for (const name of Object.keys(value)) {
      const copy = this.#member(name, value[name], { path: `${path}/${pathName(name)}`, depth: depth + 1 })
      if (copy !== OMITTED) kept.push([name, copy])
      if (this.#nodes > MAX_NODES) break
    }
    // Defines own members, so that a member named `__proto__` stays one.
    return Object.fromEntries(kept)
  }

  #member(name: string, value: unknown, place: Place): unknown {
    this.#characters += name.length
    if (this.#characters > MAX_TOTAL_CHARACTERS) return this.#refuse(place, 'bound', 'too_much_text')
    const rule = credentialNameRule(name)
    if (rule !== undefined) {
      this.#nodes += 1
      return this.#refuse(place, rule === 'name_too_long' ? 'bound' : 'name', rule)
    }
    const shape = isCredentialValue(name)
    if (shape !== undefined) return this.#refuse(place, 'value', shape)
    return this.copy(value, place)
  }

  #refuse({ path }: Place, reason: Finding['reason'], rule: Finding['rule']): typeof OMITTED {
    if (this.findings.length < MAX_FINDINGS) this.findings.push({ path, reason, rule })
    return OMITTED
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

const NAME_MEMBERS = new Set([
  'name',
  'key',
  'field',
  'label',
  'attribute',
  'property',
  'variable',
  'header',
  'k',
  'n',
  'id',
  'type',
])
const VALUE_MEMBERS = new Set(['value', 'val', 'v', 'content', 'data', 'text', 'default', 'body'])

/** `{"name": "password", "value": "…"}`: the name of the credential stands in a value. */
function isNamedEntry(value: Readonly<Record<string, unknown>>): boolean {
  const members = Object.keys(value)
  if (!members.some(member => VALUE_MEMBERS.has(member.toLowerCase()))) return false
  return members.some(member => NAME_MEMBERS.has(member.toLowerCase()) && namesCredential(value[member]))
}

/** `["password", "…"]` as an element of a list of pairs. */
function isNamedPair(value: unknown): boolean {
  return Array.isArray(value) && value.length === 2 && namesCredential(value[0])
}

function namesCredential(value: unknown): boolean {
  return typeof value === 'string' && value.length <= MAX_NAME_CHARACTERS && isCredentialName(value)
}

/** A JSON Web Key with its private or symmetric part (RFC 7518 §6.2.2, §6.3.2, §6.4.1). */
function isPrivateJwk(value: Readonly<Record<string, unknown>>): boolean {
  return Object.hasOwn(value, 'kty') && (Object.hasOwn(value, 'd') || Object.hasOwn(value, 'k'))
}

function pathName(name: string): string {
  if (name.length > MAX_NAME_CHARACTERS) return `${escapePointer(name.slice(0, MAX_PATH_NAME_CHARACTERS))}…`
  if (isCredentialValue(name) !== undefined) return '(hidden)'
  return escapePointer(name.length > MAX_PATH_NAME_CHARACTERS ? `${name.slice(0, MAX_PATH_NAME_CHARACTERS)}…` : name)
}

/** RFC 6901 §3. */
function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
