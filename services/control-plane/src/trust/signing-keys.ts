import type { Sql, TransactionSql } from '@rap/service-kit'
import { commonProblems } from '@rap/service-kit'
import { type KeyLookup, type KeySet, MAX_KEYS, type SigningKey } from '@rap/token-claims'
import { type CryptoKey, importJWK } from 'jose'
import { auditSystem, type EventBy } from '../audit/write.ts'
import { problems } from '../errors.ts'
import type { KeyWrapping } from '../keys/wrapping.ts'
import { type KeyMaterial, makeKey, openKey } from './key-material.ts'
import {
  activate,
  beginRetiring,
  insertNext,
  listKeys,
  lockKeys,
  markRevoked,
  readMaterial,
  readPublished,
  readStanding,
  readState,
  readVerifying,
  retireEnded,
  type SigningKeyRow,
  type Standing,
} from './key-rows.ts'
import { PUBLISHED_SECONDS } from './key-times.ts'

/** Public halves that are kept imported. */
const MAX_IMPORTED = 16
/** Private halves that are kept open: the one that signs, the one that will, and the one that just did. */
const MAX_OPENED = 3

/** Writes what happened to a key into the audit, in the transaction in which it happens. */
export type Recorder = (tx: TransactionSql, event: EventBy) => Promise<void>

export interface Rotated {
  readonly previous_kid: string
  readonly active_kid: string
  readonly next_kid: string
}

/** The keys after a revocation; null where the place of keys does not answer, until it does. */
export interface Revoked {
  readonly revoked_kid: string
  readonly active_kid: string | null
  readonly next_kid: string | null
}

/**
 * The keys that sign data-plane, lease and assignment tokens: `next → active → retiring → retired`, and `revoked` from any
 * of the first three.
 *
 * A key is published as `next` before it signs, signs as `active`, is still published as `retiring` while its tokens live,
 * and has no private half as `retired` or `revoked`. INVARIANT: a private key is in the clear in the memory of this process
 * only; a key that has left the first three states verifies nothing here from the next look-up on.
 */
export class SigningKeys {
  readonly #sql: Sql
  readonly #keys: KeyWrapping
  /** By kid; a promise, so that many starts at once after a rotation ask the place of keys once. */
  readonly #opened = new Map<string, Promise<CryptoKey>>()
  readonly #imported = new Map<string, CryptoKey>()

  constructor(sql: Sql, keys: KeyWrapping) {
    this.#sql = sql
    this.#keys = keys
  }

  /**
   * Makes the first two keys where there are none, and opens both: a place of keys that is away or has lost one is named at the
   * start and not by the first session. Safe in several instances at once. Throws KeyProviderError.
   */
  async ensure(): Promise<void> {
    await this.fill()
    await this.active()
    await this.#open(await readMaterial(this.#sql, 'next'))
  }

  /** Makes the key that signs and the key that waits, whichever is missing. Throws KeyProviderError. */
  async fill(): Promise<void> {
    for (let standing = await readStanding(this.#sql); isIncomplete(standing); ) {
      // Outside the transaction: a vault may take seconds, and nobody else waits for this lock as long.
      const made = standing.next === undefined ? await makeKey(this.#keys) : undefined
      standing = await this.#sql.begin(async tx => {
        await lockKeys(tx)
        const now = await readStanding(tx)
        if (now.next === undefined && made !== undefined) {
          await insertNext(tx, made)
          await auditSystem(tx, { organization_id: null, event: 'signing_key_made', details: { kid: made.kid } })
        }
        const waiting = now.next?.kid ?? made?.kid
        if (now.active === undefined && waiting !== undefined) await activate(tx, waiting)
        return await readStanding(tx)
      })
    }
  }

  /** The key that signs now. One indexed row is read each time, so a rotation by another instance counts at once. */
  async active(): Promise<SigningKey> {
    const row = await readMaterial(this.#sql, 'active')
    if (row === undefined) throw new Error('there is no active signing key')
    return { kid: row.kid, privateKey: await this.#open(row) }
  }

  /** Ids of the key that signs now and the one that will. */
  async kids(): Promise<{ readonly active: string | null; readonly next: string | null }> {
    const { active, next } = await readStanding(this.#sql)
    return { active: active?.kid ?? null, next: next?.kid ?? null }
  }

  /** Finds the public half of a key whose tokens may still be valid. */
  get lookup(): KeyLookup {
    return async kid => {
      const jwk = await readVerifying(this.#sql, kid)
      if (jwk === undefined) return undefined
      const known = this.#imported.get(kid)
      if (known !== undefined) return known
      const key = (await importJWK(jwk, 'RS256')) as CryptoKey
      if (this.#imported.size >= MAX_IMPORTED) this.#imported.clear()
      this.#imported.set(kid, key)
      return key
    }
  }

  /** The published keys (RFC 7517 §5): next, active and retiring. */
  async keySet(): Promise<KeySet> {
    return { keys: await readPublished(this.#sql) }
  }

  /** Every key, the newest first. */
  async list(): Promise<SigningKeyRow[]> {
    return await listKeys(this.#sql)
  }

  /**
   * Moves every key one state on and makes the next one.
   *
   * Throws ProblemError ERR_SIGNING_KEY_NEXT_TOO_YOUNG where verifiers may not know the next key yet, unless forced;
   * ERR_SIGNING_KEY_RETIRING_LIMIT where the key set is full; ERR_CONFLICT where somebody else was first; and
   * KeyProviderError where the next key does not open: it would sign nothing.
   */
  async rotate({ force = false, record }: { force?: boolean; record: Recorder }): Promise<Rotated> {
    const before = rotatable(await readStanding(this.#sql), force)
    await this.#open(await readMaterial(this.#sql, 'next'))
    const made = await makeKey(this.#keys)
    return await this.#sql.begin(async tx => {
      await lockKeys(tx)
      const now = await readStanding(tx)
      if (now.active?.kid !== before.active || now.next?.kid !== before.next) throw commonProblems.ERR_CONFLICT()
      rotatable(now, force)
      await beginRetiring(tx, before.active)
      await activate(tx, before.next)
      await insertNext(tx, made)
      await record(tx, {
        organization_id: null,
        event: 'signing_keys_rotated',
        details: { kid: before.next, previous_kid: before.active, next_kid: made.kid, forced: force },
      })
      return { previous_kid: before.active, active_kid: before.next, next_kid: made.kid }
    })
  }

  /** Rotates once where the active key has signed for that long, however late, and the next one may sign. */
  async rotateIfDue(hours: number, record: Recorder): Promise<Rotated | undefined> {
    const { active, next } = await readStanding(this.#sql)
    if (hours === 0 || active === undefined || next === undefined) return undefined
    if (active.signedSeconds < hours * 3600 || next.publishedSeconds < PUBLISHED_SECONDS) return undefined
    return await this.rotate({ record })
  }

  /**
   * Takes a key back that may be in other hands: no token of it is valid any more, and where it signed, the next one does
   * from now on. It needs no place of keys. Repeated, it changes nothing.
   *
   * Throws ProblemError ERR_NOT_FOUND, and ERR_SIGNING_KEY_ENDED for a key that has no valid token anyway.
   */
  async revoke(kid: string, record: Recorder): Promise<void> {
    await this.#sql.begin(async tx => {
      await lockKeys(tx)
      const state = await readState(tx, kid)
      if (state === undefined) throw commonProblems.ERR_NOT_FOUND()
      if (state === 'retired') throw problems.ERR_SIGNING_KEY_ENDED()
      if (state === 'revoked') return
      await markRevoked(tx, kid)
      const { next } = await readStanding(tx)
      if (state === 'active' && next !== undefined) await activate(tx, next.kid)
      await record(tx, { organization_id: null, event: 'signing_key_revoked', details: { kid, previous_state: state } })
    })
    this.#opened.delete(kid)
    this.#imported.delete(kid)
  }

  /** Takes the private half of keys whose last token has ended. */
  async retire(): Promise<void> {
    await this.#sql.begin(async tx => {
      for (const kid of await retireEnded(tx)) {
        await auditSystem(tx, { organization_id: null, event: 'signing_key_retired', details: { kid } })
      }
    })
  }

  async #open(row: KeyMaterial | undefined): Promise<CryptoKey> {
    if (row === undefined) throw new Error('there is no next signing key')
    const known = this.#opened.get(row.kid)
    if (known !== undefined) return await known
    for (const [oldest] of this.#opened) {
      if (this.#opened.size < MAX_OPENED) break
      this.#opened.delete(oldest)
    }
    const opening = openKey(this.#keys, row)
    this.#opened.set(row.kid, opening)
    try {
      return await opening
    } catch (error) {
      this.#opened.delete(row.kid)
      throw error
    }
  }
}

function isIncomplete({ active, next }: Standing): boolean {
  return active === undefined || next === undefined
}

/** The keys that a rotation moves on. Throws ProblemError where it may not. */
function rotatable({ active, next, retiring }: Standing, force: boolean): { active: string; next: string } {
  if (active === undefined || next === undefined) throw new Error('there is no signing key to rotate')
  const tooYoung = PUBLISHED_SECONDS - next.publishedSeconds
  if (tooYoung > 0 && !force) throw problems.ERR_SIGNING_KEY_NEXT_TOO_YOUNG(retryAfter(tooYoung))
  // The old one retires and a new one comes: a set that is larger is refused by every verifier, whole.
  if (retiring.length + 3 > MAX_KEYS) {
    const first = Math.min(...retiring.map(({ endsInSeconds }) => endsInSeconds))
    throw problems.ERR_SIGNING_KEY_RETIRING_LIMIT(retryAfter(first))
  }
  return { active: active.kid, next: next.kid }
}

function retryAfter(seconds: number) {
  return { extras: { retry_after_seconds: Math.ceil(seconds) } }
}
