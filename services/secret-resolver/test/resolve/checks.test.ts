import t from 'tap'
import { firstFailing, RESOLVE_CHECKS, type ResolveFacts, type ResolveStage } from '../../src/resolve/checks.ts'

const ID = (n: number) => `00000000-0000-4000-8000-00000000000${n}`
const REF = `rap-secret://org/${ID(1)}/resources/${ID(2)}/rdp-primary`
const THUMBPRINT = 'T'.repeat(43)
const FACTS: ResolveFacts = {
  isProduction: true,
  caller: { kind: 'worker', id: ID(3), thumbprint: THUMBPRINT },
  hasRecipientKey: true,
  claims: {
    iss: 'i',
    aud: 'a',
    iat: 0,
    nbf: 0,
    exp: 0,
    jti: 'j',
    organization_id: ID(1),
    resource_id: ID(2),
    worker_id: ID(3),
    session_id: ID(4),
    attachment_id: ID(5),
    lease_id: ID(6),
    secret_ref: REF,
    cnf: { 'x5t#S256': THUMBPRINT },
  },
  lease: { lease_id: ID(6), worker_id: ID(3), session_id: ID(4), attachment_id: ID(5) },
  place: {
    worker_state: 'active',
    session_state: 'assigning',
    session_organization_id: ID(1),
    session_resource_id: ID(2),
    attachment_state: 'assigning',
    attachment_session_id: ID(4),
    attachment_worker_id: ID(3),
    attachment_lease_id: ID(6),
    resource_organization_id: ID(1),
    resource_secret_ref: REF,
    resource_is_deleted: false,
  },
  secret: {
    secret_ref: REF,
    organization_id: ID(1),
    resource_id: ID(2),
    version: 1,
    ciphertext: Buffer.alloc(1),
    nonce: Buffer.alloc(1),
    key_id: 'k',
    sealed_key_id: 'k',
    algorithm: 'a',
    wrapped_data_key: Buffer.alloc(1),
    payload_sha256: '',
  },
  isFirstUse: true,
}

const STAGES: readonly ResolveStage[] = ['request', 'state', 'use']
const reasonOf = (facts: ResolveFacts) =>
  STAGES.map(stage => firstFailing(stage, facts)?.reason).find(reason => reason !== undefined)
const withPlace = (change: Partial<NonNullable<ResolveFacts['place']>>) => ({
  ...FACTS,
  place: { ...FACTS.place!, ...change },
})

t.test('facts that agree pass every check', async t => {
  t.equal(reasonOf(FACTS), undefined)
})

t.test('every fact that is missing is a refusal', async t => {
  for (const fact of ['caller', 'claims', 'lease', 'place', 'secret'] as const) {
    t.ok(reasonOf({ ...FACTS, [fact]: undefined }), fact)
  }
  t.equal(reasonOf({ ...FACTS, hasRecipientKey: false }), 'recipient_key_invalid')
  t.equal(reasonOf({ ...FACTS, isFirstUse: false }), 'lease_token_replayed')
})

t.test('facts that are missing on both sides do not agree', async t => {
  const nothing: ResolveFacts = {
    ...FACTS,
    claims: undefined,
    lease: undefined,
    place: undefined,
    caller: undefined,
    secret: undefined,
  }
  // What asks for a state that has no other side is not about agreement.
  const notAboutAgreement = new Set([
    'recipient_key_invalid',
    'attachment_superseded',
    'plaintext_metadata_refused',
    'lease_token_replayed',
  ])
  for (const check of RESOLVE_CHECKS) {
    if (!notAboutAgreement.has(check.reason)) t.equal(check.holds(nothing), false, check.reason)
  }
})

t.test('every missing or different column of the place is a refusal', async t => {
  for (const column of Object.keys(FACTS.place!) as (keyof NonNullable<ResolveFacts['place']>)[]) {
    t.ok(reasonOf(withPlace({ [column]: null })), `${column} is null`)
    t.ok(reasonOf(withPlace({ [column]: column === 'resource_is_deleted' ? true : ID(9) })), `${column} differs`)
  }
})

t.test('only live states pass', async t => {
  for (const state of ['assigning', 'ready', 'active']) {
    t.equal(reasonOf(withPlace({ session_state: state, attachment_state: state })), undefined)
  }
  for (const state of ['detached', 'terminated', 'failed', '', 'constructor']) {
    t.equal(reasonOf(withPlace({ session_state: state })), 'session_not_live')
  }
  t.equal(reasonOf(withPlace({ attachment_state: 'superseded' })), 'attachment_superseded')
  for (const state of ['closed', 'failed', '']) {
    t.equal(reasonOf(withPlace({ attachment_state: state })), 'attachment_not_live')
  }
})

t.test(
  'a resource without a reference passes outside production only, and only where the token names none',
  async t => {
    const bare = { ...withPlace({ resource_secret_ref: null }), secret: undefined }
    const unnamed = { ...bare, claims: { ...FACTS.claims!, secret_ref: null } }
    t.equal(reasonOf(unnamed), 'plaintext_metadata_refused')
    t.equal(reasonOf({ ...unnamed, isProduction: false }), undefined)
    t.equal(reasonOf({ ...bare, isProduction: false }), 'secret_ref_mismatch')
    t.equal(reasonOf({ ...FACTS, isProduction: false, claims: unnamed.claims }), 'secret_ref_mismatch')
  },
)

t.test('a reference without its stored secret is a refusal, in development too', async t => {
  t.equal(reasonOf({ ...FACTS, secret: undefined, isProduction: false }), 'secret_unknown')
})
