import type { Sql, TransactionSql } from '@rap/service-kit'
import { type KeyLookup, type KeySet, publicJwkOf, type SigningKey } from '@rap/token-claims'
import { type CryptoKey, generateKeyPair, importJWK, type JWK } from 'jose'
import type { KeyWrapping, StoredKey } from '../keys/wrapping.ts'

/** Bits of a signing key (NIST SP 800-57 part 1: 128-bit strength). */
const MODULUS_BITS = 3072
/** Taken while keys are made or rotated, so that of several instances one does it. */
const KEYS_LOCK = 'rap.signing_keys'
/** How long a retiring key is still published: far beyond the 120 seconds that its last token can live. */
export const RETIRING_MINUTES = 10

type Db = Sql | TransactionSql

interface SigningKeyRow {
  readonly kid: string
  readonly public_jwk: JWK
  readonly wrapped_private_key: StoredKey | null
}

/**
 * The keys that sign data-plane, lease and assignment tokens.
 *
 * A key is published as `next` before it signs, signs as `active`, is still published as `retiring`, and loses its
 * private half as `retired`. INVARIANT: a private key is in the clear in the memory of this process only.
 */
export class SigningKeys {
  readonly #sql: Sql
  readonly #keys: KeyWrapping
  /** Unwrapped keys by kid; a handful at most, since every rotation forgets the others. */
  readonly #private = new Map<string, CryptoKey>()
  readonly #public = new Map<string, CryptoKey>()

  constructor(sql: Sql, keys: KeyWrapping) {
    this.#sql = sql
    this.#keys = keys
  }

  /** Makes the first two keys where there are none; safe in several instances at once. */
  async ensure(): Promise<void> {
    const [active] = await this.#sql`select 1 from rap.signing_keys where state = 'active'`
    if (active !== undefined) return
    await this.#sql.begin(async tx => {
      await this.#lock(tx)
      const [present] = await tx`select 1 from rap.signing_keys where state = 'active'`
      if (present !== undefined) return
      const kid = await this.#insertNext(tx)
      await activate(tx, kid)
      await this.#insertNext(tx)
    })
  }

  /** The key that signs now. One indexed row is read each time, so a rotation by another instance counts at once. */
  async active(): Promise<SigningKey> {
    const [row] = await this.#sql<SigningKeyRow[]>`
      select kid, public_jwk, wrapped_private_key from rap.signing_keys where state = 'active'`
    if (row === undefined) throw new Error('there is no active signing key')
    let privateKey = this.#private.get(row.kid)
    if (privateKey === undefined) {
      privateKey = await this.#open(row)
      this.#private.clear()
      this.#private.set(row.kid, privateKey)
    }
    return { kid: row.kid, privateKey }
  }

  /** Finds the public half of a key whose tokens may still be valid. */
  get lookup(): KeyLookup {
    return async kid => {
      const [row] = await this.#sql<Pick<SigningKeyRow, 'public_jwk'>[]>`
        select public_jwk from rap.signing_keys where kid = ${kid} and state in ('active', 'retiring')`
      if (row === undefined) return undefined
      const known = this.#public.get(kid)
      if (known !== undefined) return known
      const key = (await importJWK(row.public_jwk, 'RS256')) as CryptoKey
      if (this.#public.size > 16) this.#public.clear()
      this.#public.set(kid, key)
      return key
    }
  }

  /** The published keys (RFC 7517 §5): next, active and retiring. */
  async keySet(): Promise<KeySet> {
    const rows = await this.#sql<Pick<SigningKeyRow, 'public_jwk'>[]>`
      select public_jwk from rap.signing_keys where state in ('active', 'next', 'retiring')
      order by created_at desc limit 16`
    return { keys: rows.map(row => row.public_jwk) }
  }

  /** Moves every key one state on and makes the next one. Returns the ids of the keys that sign before and after. */
  async rotate(tx: TransactionSql): Promise<{ previous_kid: string; active_kid: string; next_kid: string }> {
    await this.#lock(tx)
    const [previous] = await tx<{ kid: string }[]>`
      update rap.signing_keys set state = 'retiring', retiring_at = now() where state = 'active' returning kid`
    const [next] = await tx<{ kid: string }[]>`select kid from rap.signing_keys where state = 'next'`
    if (previous === undefined || next === undefined) throw new Error('there is no signing key to rotate')
    await activate(tx, next.kid)
    return { previous_kid: previous.kid, active_kid: next.kid, next_kid: await this.#insertNext(tx) }
  }

  /** Takes the private half of keys whose last token expired long ago. */
  async retire(): Promise<void> {
    await this.#sql`
      update rap.signing_keys set state = 'retired', retired_at = now(), wrapped_private_key = null
      where state = 'retiring' and retiring_at < now() - make_interval(mins => ${RETIRING_MINUTES})`
  }

  async #lock(tx: TransactionSql): Promise<void> {
    await tx`select pg_advisory_xact_lock(hashtextextended(${KEYS_LOCK}, 0))`
  }

  async #insertNext(db: Db): Promise<string> {
    const { publicKey, privateKey } = await generateKeyPair('RS256', { modulusLength: MODULUS_BITS, extractable: true })
    const jwk = await publicJwkOf(publicKey)
    const encoded = Buffer.from(await crypto.subtle.exportKey('pkcs8', privateKey))
    try {
      const stored = await this.#keys.wrap(encoded, contextOf(jwk.kid))
      await db`
        insert into rap.signing_keys (kid, state, public_jwk, wrapped_private_key)
        values (${jwk.kid}, 'next', ${db.json(jwk as never)}, ${db.json(stored as never)})`
      return jwk.kid
    } finally {
      encoded.fill(0)
    }
  }

  async #open({ kid, wrapped_private_key: stored }: SigningKeyRow): Promise<CryptoKey> {
    if (stored === null) throw new Error('signing key has no private half')
    const encoded = await this.#keys.unwrap(stored, contextOf(kid))
    try {
      const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
      return await crypto.subtle.importKey('pkcs8', new Uint8Array(encoded), algorithm, false, ['sign'])
    } finally {
      encoded.fill(0)
    }
  }
}

async function activate(tx: TransactionSql, kid: string): Promise<void> {
  await tx`update rap.signing_keys set state = 'active', activated_at = now() where kid = ${kid}`
}

/** A wrapped key that is moved to another row does not open. */
function contextOf(kid: string): Buffer {
  return Buffer.from(`rap-signing-key-v1\0${kid}`, 'utf8')
}
