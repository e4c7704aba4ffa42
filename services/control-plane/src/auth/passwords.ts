import { randomBytes } from 'node:crypto'
import { hash, verify } from '@node-rs/argon2'
import { problems } from '../errors.ts'
import { Turns } from '../http/turns.ts'

/**
 * Argon2id with the parameters that RFC 9106 §4 recommends where 2 GiB a hash are too much: 64 MiB, 3 passes, 4 lanes.
 * One guess costs an attacker's graphics card 64 MiB of memory traffic three times; one log-in costs us 50 to 100 ms.
 */
const PARAMETERS = { memoryCost: 64 * 1024, timeCost: 3, parallelism: 4, outputLen: 32 } as const
const CURRENT_PREFIX = `$argon2id$v=19$m=${PARAMETERS.memoryCost},t=${PARAMETERS.timeCost},p=${PARAMETERS.parallelism}$`

/** Hashes at once: 4 times 64 MiB is all the memory that log-ins can take. */
const MAX_RUNNING = 4
/** Log-ins that wait for a turn; more are refused, so that a flood does not become a queue of minutes. */
const MAX_WAITING = 64

/** Shortest password, in characters (NIST SP 800-63B §3.1.1.2 asks for 8 beside a second factor, 15 without). */
export const MIN_PASSWORD_CHARACTERS = 12
/** Longest password, in characters: bounds the work before the hash. */
export const MAX_PASSWORD_CHARACTERS = 256

const turns = new Turns({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING, refuse: problems.ERR_AUTH_BUSY })

/** A new hash with a fresh salt, in PHC string form. */
export function hashPassword(password: string): Promise<string> {
  return turns.take(() => hash(password, PARAMETERS))
}

/** In the form of a hash with today's parameters; no password is known to fit it. */
const DUMMY_HASH = `${CURRENT_PREFIX}${unpadded(randomBytes(16))}$${unpadded(randomBytes(PARAMETERS.outputLen))}`

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '')
}

/**
 * True when the password is the one of the hash. Without a hash (an unknown account) the same work is done on one that
 * fits nothing, so that the time of an answer does not tell which accounts exist.
 */
export async function verifyPassword(storedHash: string | undefined, password: string): Promise<boolean> {
  const compared = storedHash ?? DUMMY_HASH
  const matches = await turns.take(() => verify(compared, password).catch(() => false))
  return matches && storedHash !== undefined
}

/** True when the hash was made with other parameters than today's. */
export function needsRehash(storedHash: string): boolean {
  return !storedHash.startsWith(CURRENT_PREFIX)
}

/** Throws ProblemError ERR_AUTH_PASSWORD_UNFIT. Length is what counts; composition rules only make people write it down. */
export function checkNewPassword(password: string, account: { readonly email: string }): void {
  const characters = [...password].length
  if (characters < MIN_PASSWORD_CHARACTERS || characters > MAX_PASSWORD_CHARACTERS) {
    throw problems.ERR_AUTH_PASSWORD_UNFIT({
      detail: `Choose ${MIN_PASSWORD_CHARACTERS} to ${MAX_PASSWORD_CHARACTERS} characters`,
    })
  }
  const plain = password.toLowerCase()
  const [mailbox = ''] = account.email.split('@')
  if (plain.includes(account.email) || (mailbox.length >= 4 && plain.startsWith(mailbox))) {
    throw problems.ERR_AUTH_PASSWORD_UNFIT({ detail: 'Choose a password without the e-mail address in it' })
  }
  if (new Set(plain).size < 5) {
    throw problems.ERR_AUTH_PASSWORD_UNFIT({ detail: 'Choose a password of more than a few different characters' })
  }
}
