import { type Static, Type } from '@sinclair/typebox'
import type { ClientContext } from './context.ts'
import { buildPath } from './http.ts'
import { nullable } from './model.ts'
import { checked } from './shape.ts'

const Name = Type.String({ maxLength: 256 })
const Time = Type.String({ maxLength: 64 })

/** A key that signs what clients and workers show each other; none of it is key material. */
export const SigningKey = Type.Object({
  kid: Name,
  /** `next` is published ahead, `active` signs, `retiring` is published until its last token has ended, the others no more. */
  state: Type.Union((['next', 'active', 'retiring', 'retired', 'revoked'] as const).map(state => Type.Literal(state))),
  created_at: Time,
  activated_at: nullable(Time),
  retiring_at: nullable(Time),
  retired_at: nullable(Time),
  revoked_at: nullable(Time),
  /** Of `next`: when it has been published long enough to sign. */
  signs_next_at: Type.Optional(Time),
  /** SubjectPublicKeyInfo, PEM, for workers that are given keys in a file; null once the key is out of use. */
  public_key: nullable(Type.String({ maxLength: 8192 })),
})
export type SigningKey = Static<typeof SigningKey>

const SigningKeyList = Type.Object({
  keys: Type.Array(SigningKey, { maxItems: 1000 }),
  /** Null where no rotation is scheduled. */
  next_rotation_at: nullable(Time),
})
export type SigningKeyList = Static<typeof SigningKeyList>

/** Keys may be in a device or a service far away. */
const KEY_CALL_MS = 35_000

/** `/v1/signing-keys`: what signs data-plane tokens, for owners of the platform. Nothing is sent twice by itself. */
export class SigningKeys {
  readonly #context: ClientContext

  constructor(context: ClientContext) {
    this.#context = context
  }

  async list(): Promise<SigningKeyList> {
    const { body } = await this.#context.account.call({ method: 'GET', path: '/v1/signing-keys' })
    return checked(SigningKeyList, body, 'a list of signing keys')
  }

  /** Signs with the next key. Throws RapError ERR_SIGNING_KEY_NEXT_TOO_YOUNG, with `retryAfterSeconds`, unless forced. */
  async rotate({ force }: { readonly force?: boolean } = {}): Promise<void> {
    await this.#change('/v1/signing-keys/rotate', force === undefined ? {} : { force })
  }

  /** After a theft: no token of this key is accepted any more. */
  async revoke(kid: string): Promise<void> {
    await this.#change(buildPath('/v1/signing-keys', [kid, 'revoke']), {})
  }

  async #change(path: string, body: object): Promise<void> {
    const { account, timeouts } = this.#context
    await account.call({ method: 'POST', path, body, timeoutMs: Math.max(timeouts.requestMs, KEY_CALL_MS) })
  }
}
