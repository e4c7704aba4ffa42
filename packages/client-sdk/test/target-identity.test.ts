import t from 'tap'
import { createRapClient, type RapError } from '../src/index.ts'
import { json, problem, RESOURCE_ID, type ScriptedRequest, scriptedControlPlane } from './helper.ts'

const AT = '2026-01-01T00:00:00.000Z'
const A = 'a'.repeat(64)
const B = 'b'.repeat(64)
const PATH = `/v1/resources/${RESOURCE_ID}/target-identity`
const PIN = {
  kind: 'certificate',
  sha256: A,
  source: 'decision',
  keep_others: false,
  decided_at: AT,
  decided_by: RESOURCE_ID,
}
const IDENTITY = {
  resource_id: RESOURCE_ID,
  mode: 'pinned',
  alarm: { fingerprint_sha256: B, code: 'ERR_TARGET_CERTIFICATE_MISMATCH', since: AT },
  approved: [PIN],
  staged: [],
  rejected: [],
  retired: [{ ...PIN, sha256: B, decided_by: null }],
  seen: [
    {
      fingerprint_sha256: B,
      spki_sha256: A,
      state: 'seen',
      subject: 'CN=desktop',
      issuer: 'CN=desktop',
      self_signed: true,
      names: ['desktop.example'],
      not_before: AT,
      not_after: AT,
      first_seen_at: AT,
      last_seen_at: AT,
      times_seen: 3,
      worker_id: RESOURCE_ID,
      worker_name: 'worker',
      accepted_at: null,
      refused_code: 'ERR_TARGET_CERTIFICATE_MISMATCH',
    },
  ],
  forgotten_count: 0,
  ca: {
    certificates: [{ subject: 'CN=corporate', fingerprint_sha256: A, not_before: AT, not_after: AT }],
    certificates_pem: 'PEM',
    enrolled_at: AT,
    enrolled_by: RESOURCE_ID,
  },
}
const CHAIN = { chain: [{ subject: 'CN=desktop', fingerprint_sha256: B, pem: 'PEM' }] }

t.test('the identity of a target is read and decided about with the bodies of the API', async t => {
  const controlPlane = await scriptedControlPlane(t, {
    candidates: [],
    intercept: ({ path }, response) => {
      if (!path.startsWith(PATH)) return false
      json(response, path === PATH ? { ...IDENTITY, newer_member: 1 } : CHAIN)
      return true
    },
  })
  const rap = createRapClient({ baseUrl: controlPlane.origin })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  const { targetIdentity } = rap.resources
  t.same(await targetIdentity.get(RESOURCE_ID), IDENTITY)
  t.same(await targetIdentity.chain(RESOURCE_ID, B), CHAIN.chain)
  for (const answer of [
    await targetIdentity.approve(RESOURCE_ID, B),
    await targetIdentity.approve(RESOURCE_ID, B, { kind: 'public_key', keepOthers: true }),
    await targetIdentity.reject(RESOURCE_ID, B),
    await targetIdentity.stage(RESOURCE_ID, { sha256: B }),
    await targetIdentity.withdraw(RESOURCE_ID, { kind: 'certificate', sha256: A }),
    await targetIdentity.enrolCa(RESOURCE_ID, 'PEM'),
    await targetIdentity.removeCa(RESOURCE_ID),
    await targetIdentity.dismissAlarm(RESOURCE_ID, B),
  ]) {
    t.same(answer, IDENTITY)
  }
  const sent = controlPlane.requests.slice(3).map(({ method, path, body }: ScriptedRequest) => [method, path, body])
  t.same(sent, [
    ['POST', PATH, { action: 'approve', fingerprint_sha256: B, kind: 'certificate', keep_others: false }],
    ['POST', PATH, { action: 'approve', fingerprint_sha256: B, kind: 'public_key', keep_others: true }],
    ['POST', PATH, { action: 'reject', fingerprint_sha256: B }],
    ['POST', PATH, { action: 'stage', kind: 'certificate', sha256: B, keep_others: false }],
    ['POST', PATH, { action: 'withdraw', kind: 'certificate', sha256: A }],
    ['POST', PATH, { action: 'enrol_ca', certificates_pem: 'PEM' }],
    ['POST', PATH, { action: 'remove_ca' }],
    ['POST', PATH, { action: 'dismiss_alarm', fingerprint_sha256: B }],
  ])
})

t.test(
  'a refusal over the identity of a target tells its fingerprint where the server does, and only in its form',
  async t => {
    for (const [told, fingerprintSha256] of [
      [B, B],
      ['<script>', undefined],
      [undefined, undefined],
    ] as const) {
      const controlPlane = await scriptedControlPlane(t, {
        candidates: [],
        intercept: ({ path }, response) => {
          if (path !== '/v1/sessions') return false
          problem(response, 409, 'ERR_TARGET_IDENTITY_CHANGED', { fingerprint_sha256: told })
          return true
        },
      })
      const rap = createRapClient({ baseUrl: controlPlane.origin })
      await rap.login({ email: 'a@example.com', password: 'correct horse' })
      const error = (await rap.sessions.start({ resourceId: RESOURCE_ID }).catch(error => error)) as RapError
      t.equal(error.code, 'ERR_TARGET_IDENTITY_CHANGED')
      t.equal(error.fingerprintSha256, fingerprintSha256)
    }
  },
)
