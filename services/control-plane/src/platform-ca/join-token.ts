import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { Secret } from '@rap/service-kit'

/** Bits that nobody guesses: 256. */
const SECRET_BYTES = 32
/** `rapjoin.<id>.<secret>.<sha256 of the bundle>`. */
const JOIN_TOKEN = /^rapjoin\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})$/
export const MAX_JOIN_TOKEN_CHARACTERS = 256

export interface NewJoinToken {
  readonly id: string
  /** Shown once. */
  readonly text: Secret
  /** What is stored. */
  readonly secretSha256: Buffer
}

/** Makes a join token; `bundleSha256` lets its holder know the platform's CA at first sight. */
export function newJoinToken(bundleSha256: string): NewJoinToken {
  const id = randomUUID()
  const secret = randomBytes(SECRET_BYTES).toString('base64url')
  return { id, text: Secret.from(`rapjoin.${id}.${secret}.${bundleSha256}`), secretSha256: sha256(secret) }
}

/** Takes a token apart; undefined for anything else. */
export function parseJoinToken(text: string): { readonly id: string; readonly secretSha256: Buffer } | undefined {
  if (text.length > MAX_JOIN_TOKEN_CHARACTERS) return undefined
  const [, id, secret] = JOIN_TOKEN.exec(text) ?? []
  return id === undefined || secret === undefined ? undefined : { id, secretSha256: sha256(secret) }
}

export function isSameSecret(given: Buffer, stored: Buffer): boolean {
  return given.length === stored.length && timingSafeEqual(given, stored)
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest()
}
