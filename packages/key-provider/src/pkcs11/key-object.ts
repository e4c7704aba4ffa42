import { randomBytes } from 'node:crypto'
import { call, type Handle, type Library, p11, trouble } from './library.ts'

const KEY_BYTES = 32
/** How late a token may show what another process has made, in milliseconds. It is waited for in a thread of its own. */
const SETTLE_MS = 500

interface Requirement {
  readonly type: number
  readonly name: string
  readonly value: boolean
}

/** What a key must be (PKCS#11 v2.40 §4.9, §4.10): its bytes never leave the token, and it does what it is for. */
const REQUIREMENTS: readonly Requirement[] = [
  { type: p11.CKA_SENSITIVE, name: 'CKA_SENSITIVE', value: true },
  { type: p11.CKA_EXTRACTABLE, name: 'CKA_EXTRACTABLE', value: false },
  { type: p11.CKA_ENCRYPT, name: 'CKA_ENCRYPT', value: true },
  { type: p11.CKA_DECRYPT, name: 'CKA_DECRYPT', value: true },
]

const searchFor = (label: string) => [
  { type: p11.CKA_CLASS, value: p11.CKO_SECRET_KEY },
  { type: p11.CKA_KEY_TYPE, value: p11.CKK_AES },
  { type: p11.CKA_LABEL, value: label },
]

/** The one AES key of a label. Throws `key_missing`, `key_ambiguous` and, with the attributes' names, `key_unfit`. */
export function findKey(library: Library, session: Handle, label: string): Handle {
  const [key, second] = keysOf(library, session, label)
  if (key === undefined) throw trouble('C_FindObjects', 'key_missing')
  if (second !== undefined) throw trouble('C_FindObjects', 'key_ambiguous')
  const faults = REQUIREMENTS.filter(({ type, value }) => flag(library, session, key, type) !== value).map(
    ({ name, value }) => `${name} is not ${value}`,
  )
  const bits = 8 * (number(attribute(library, session, key, p11.CKA_VALUE_LEN)) ?? 0)
  if (bits !== 8 * KEY_BYTES) faults.push(`it has ${bits} bits, not 256`)
  if (faults.length > 0) throw trouble('C_GetAttributeValue', 'key_unfit', faults.join(', '))
  return key
}

/**
 * Makes the key in the token; `session` must be read-write.
 *
 * Throws `key_exists`, also where another process made one in the same moment: then this one is taken back.
 */
export function createKey(library: Library, session: Handle, label: string): void {
  if (keysOf(library, session, label).length > 0) throw trouble('C_FindObjects', 'key_exists')
  const template = [
    ...searchFor(label),
    { type: p11.CKA_ID, value: randomBytes(16) },
    { type: p11.CKA_TOKEN, value: true },
    { type: p11.CKA_PRIVATE, value: true },
    { type: p11.CKA_VALUE_LEN, value: KEY_BYTES },
    ...REQUIREMENTS.map(({ type, value }) => ({ type, value })),
    ...[p11.CKA_WRAP, p11.CKA_UNWRAP, p11.CKA_SIGN, p11.CKA_VERIFY].map(type => ({ type, value: false })),
  ]
  const mechanism = { mechanism: p11.CKM_AES_KEY_GEN }
  const made = call('C_GenerateKey', () => library.C_GenerateKey(session, mechanism, template))
  if (isAlone(library, session, label)) return
  call('C_DestroyObject', () => library.C_DestroyObject(session, made))
  throw trouble('C_GenerateKey', 'key_exists')
}

/** Whether no other process has made the key too; looked at again after a while, since a token may show the other one late. */
function isAlone(library: Library, session: Handle, label: string): boolean {
  if (keysOf(library, session, label).length !== 1) return false
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SETTLE_MS)
  return keysOf(library, session, label).length === 1
}

/** At most two are of interest. */
function keysOf(library: Library, session: Handle, label: string): Handle[] {
  call('C_FindObjectsInit', () => library.C_FindObjectsInit(session, searchFor(label)))
  try {
    return call('C_FindObjects', () => library.C_FindObjects(session, 2))
  } finally {
    call('C_FindObjectsFinal', () => library.C_FindObjectsFinal(session))
  }
}

function attribute(library: Library, session: Handle, key: Handle, type: number): Buffer | undefined {
  try {
    const [found] = call('C_GetAttributeValue', () => library.C_GetAttributeValue(session, key, [{ type }]))
    return found?.value as Buffer | undefined
  } catch (error) {
    // One by one, because a token that does not know one attribute refuses the whole list.
    if (UNKNOWN_ATTRIBUTE.has((error as { failure?: { ckr?: number } }).failure?.ckr ?? 0)) return undefined
    throw error
  }
}

/** CKR_ATTRIBUTE_SENSITIVE and CKR_ATTRIBUTE_TYPE_INVALID. */
const UNKNOWN_ATTRIBUTE = new Set([0x11, 0x12])

function flag(library: Library, session: Handle, key: Handle, type: number): boolean | undefined {
  const value = attribute(library, session, key, type)
  return value?.length === 1 ? value[0] !== 0 : undefined
}

/** A CK_ULONG in the order of this machine's bytes; both processors that RAP runs on put the lowest first. */
function number(value: Buffer | undefined): number | undefined {
  return value === undefined || value.length < 4 ? undefined : value.readUInt32LE(0)
}
