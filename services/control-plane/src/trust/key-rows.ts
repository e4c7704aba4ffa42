import type { Sql, TransactionSql } from '@rap/service-kit'
import type { JWK } from 'jose'
import type { KeyMaterial } from './key-material.ts'
import { RETIRING_SECONDS } from './key-times.ts'

type Db = Sql | TransactionSql

/** Most keys that a list shows. */
const LIST_LIMIT = 100
/** Taken while keys change, so that of several instances one does it. */
const KEYS_LOCK = 'rap.signing_keys'

export type SigningKeyState = 'next' | 'active' | 'retiring' | 'retired' | 'revoked'

export interface SigningKeyRow {
  readonly kid: string
  readonly state: SigningKeyState
  readonly public_jwk: JWK
  readonly created_at: Date
  readonly activated_at: Date | null
  readonly retiring_at: Date | null
  readonly retired_at: Date | null
  readonly revoked_at: Date | null
}

/** The published keys, with what the rules of a rotation ask about; ages in seconds of the database's clock. */
export interface Standing {
  readonly active: { readonly kid: string; readonly signedSeconds: number } | undefined
  readonly next: { readonly kid: string; readonly publishedSeconds: number } | undefined
  readonly retiring: readonly { readonly kid: string; readonly endsInSeconds: number }[]
}

export async function lockKeys(tx: TransactionSql): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended(${KEYS_LOCK}, 0))`
}

export async function readStanding(db: Db): Promise<Standing> {
  const rows = await db<{ kid: string; state: SigningKeyState; seconds: number }[]>`
    select kid, state, extract(epoch from clock_timestamp() -
      case state when 'active' then activated_at when 'retiring' then retiring_at else created_at end)::float8 as seconds
    from rap.signing_keys where state in ('active', 'next', 'retiring')`
  const active = rows.find(row => row.state === 'active')
  const next = rows.find(row => row.state === 'next')
  return {
    active: active && { kid: active.kid, signedSeconds: active.seconds },
    next: next && { kid: next.kid, publishedSeconds: next.seconds },
    retiring: rows
      .filter(row => row.state === 'retiring' && row.seconds < RETIRING_SECONDS)
      .map(row => ({ kid: row.kid, endsInSeconds: RETIRING_SECONDS - row.seconds })),
  }
}

/** The key in a state of which there is one, with its private half. */
export async function readMaterial(db: Db, state: 'active' | 'next'): Promise<KeyMaterial | undefined> {
  const [row] = await db<KeyMaterial[]>`
    select kid, public_jwk, wrapped_private_key from rap.signing_keys where state = ${state}`
  return row
}

/** The public half of a key whose tokens may be valid. */
export async function readVerifying(db: Db, kid: string): Promise<JWK | undefined> {
  const [row] = await db<{ public_jwk: JWK }[]>`
    select public_jwk from rap.signing_keys where kid = ${kid} and (state = 'active'
      or (state = 'retiring' and retiring_at > clock_timestamp() - make_interval(secs => ${RETIRING_SECONDS})))`
  return row?.public_jwk
}

/** Public halves of the keys that sign, will sign, or have signed what may still be valid. */
export async function readPublished(db: Db): Promise<JWK[]> {
  const rows = await db<{ public_jwk: JWK }[]>`
    select public_jwk from rap.signing_keys where state in ('active', 'next')
      or (state = 'retiring' and retiring_at > clock_timestamp() - make_interval(secs => ${RETIRING_SECONDS}))
    order by created_at desc, kid`
  return rows.map(row => row.public_jwk)
}

/** Every key, the newest first. */
export async function listKeys(db: Db): Promise<SigningKeyRow[]> {
  return await db<SigningKeyRow[]>`
    select kid, state, public_jwk, created_at, activated_at, retiring_at, retired_at, revoked_at from rap.signing_keys
    order by created_at desc, kid limit ${LIST_LIMIT}`
}

export async function readState(tx: TransactionSql, kid: string): Promise<SigningKeyState | undefined> {
  const [row] = await tx<{ state: SigningKeyState }[]>`select state from rap.signing_keys where kid = ${kid}`
  return row?.state
}

// Times are the clock's and not the transaction's: it may have waited for the lock.

/** From now on the key is published. */
export async function insertNext(tx: TransactionSql, made: KeyMaterial): Promise<void> {
  await tx`
    insert into rap.signing_keys (kid, state, public_jwk, wrapped_private_key, created_at)
    values (${made.kid}, 'next', ${tx.json(made.public_jwk as never)}, ${tx.json(made.wrapped_private_key as never)},
      clock_timestamp())`
}

/** From now on the key signs. */
export async function activate(tx: TransactionSql, kid: string): Promise<void> {
  await tx`update rap.signing_keys set state = 'active', activated_at = clock_timestamp() where kid = ${kid}`
}

/** From now on the key signs nothing. */
export async function beginRetiring(tx: TransactionSql, kid: string): Promise<void> {
  await tx`update rap.signing_keys set state = 'retiring', retiring_at = clock_timestamp() where kid = ${kid}`
}

/** From now on no token of the key is valid. */
export async function markRevoked(tx: TransactionSql, kid: string): Promise<void> {
  await tx`
    update rap.signing_keys set state = 'revoked', revoked_at = clock_timestamp(), wrapped_private_key = null
    where kid = ${kid}`
}

/** Takes the private half of keys whose last token has ended; answers which. */
export async function retireEnded(tx: TransactionSql): Promise<string[]> {
  const rows = await tx<{ kid: string }[]>`
    update rap.signing_keys set state = 'retired', retired_at = clock_timestamp(), wrapped_private_key = null
    where state = 'retiring' and retiring_at <= clock_timestamp() - make_interval(secs => ${RETIRING_SECONDS})
    returning kid`
  return rows.map(row => row.kid)
}
