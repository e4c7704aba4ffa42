import t from 'tap'
import { type Case, judge } from '../../src/targets/judge.ts'
import { PIN_STATES, type Pin, type PinState, stateOf } from '../../src/targets/pins.ts'

const SHOWN = { fingerprintSha256: 'a'.repeat(64), spkiSha256: 'b'.repeat(64) }
const OTHER = 'c'.repeat(64)

const pin = (state: PinState, sha256: string, kind: Pin['kind'] = 'certificate'): Pin => ({
  kind,
  sha256,
  state,
  keeps_others: false,
  created_at: new Date(0),
  decided_at: new Date(0),
  decided_by: null,
})
const shownPin = (state: PinState) => pin(state, SHOWN.fingerprintSha256)
const shownKey = (state: PinState) => pin(state, SHOWN.spkiSha256, 'public_key')
const otherPin = (state: PinState) => pin(state, OTHER)

const base: Case = {
  mode: 'pinned',
  shown: SHOWN,
  refusedByWorker: undefined,
  pins: [],
  metadataPins: [],
  hasAlarm: false,
  knownKeys: [],
}
const UNTRUSTED = 'ERR_TARGET_CERTIFICATE_UNTRUSTED'
const MISMATCH = 'ERR_TARGET_CERTIFICATE_MISMATCH'

/** What is known, and: the code or undefined, then `alarm` or `promote`. */
const TABLE: readonly [string, Partial<Case>, string | undefined, ('alarm' | 'promote')?][] = [
  ['nothing is approved', {}, 'ERR_TARGET_CERTIFICATE_UNKNOWN'],
  ['nothing is approved any more', { pins: [otherPin('retired')] }, 'ERR_TARGET_CERTIFICATE_UNKNOWN'],
  ['another one waits', { pins: [otherPin('staged')] }, 'ERR_TARGET_CERTIFICATE_UNKNOWN'],
  ['it is approved', { pins: [shownPin('approved')] }, undefined],
  ['its key is approved', { pins: [shownKey('approved')] }, undefined],
  ['it stands in the metadata', { metadataPins: [SHOWN.fingerprintSha256] }, undefined],
  ['it is the key of another kind of pin', { pins: [pin('approved', SHOWN.spkiSha256)] }, MISMATCH, 'alarm'],
  ['another is approved', { pins: [otherPin('approved')] }, MISMATCH, 'alarm'],
  ['another stands in the metadata', { metadataPins: [OTHER] }, MISMATCH, 'alarm'],
  ['it was approved once', { pins: [shownPin('retired'), otherPin('approved')] }, MISMATCH, 'alarm'],
  ['it waits', { pins: [shownPin('staged'), otherPin('approved')] }, undefined, 'promote'],
  ['it waits, and nothing was before', { pins: [shownPin('staged')] }, undefined, 'promote'],
  ['its key waits', { pins: [shownKey('staged'), otherPin('approved')] }, undefined, 'promote'],
  ['it waits, and its key is approved', { pins: [shownPin('staged'), shownKey('approved')] }, undefined],
  ['it is rejected', { pins: [shownPin('rejected')] }, 'ERR_TARGET_CERTIFICATE_REJECTED'],
  [
    'it is rejected, and another approved',
    { pins: [shownPin('rejected'), otherPin('approved')] },
    'ERR_TARGET_CERTIFICATE_REJECTED',
    'alarm',
  ],
  [
    'it is rejected, and its key approved',
    { pins: [shownPin('rejected'), shownKey('approved')] },
    'ERR_TARGET_CERTIFICATE_REJECTED',
    'alarm',
  ],
  ['there is an alarm', { pins: [shownPin('approved')], hasAlarm: true }, 'ERR_TARGET_IDENTITY_CHANGED'],
  ['there is an alarm, and it waits', { pins: [shownPin('staged')], hasAlarm: true }, 'ERR_TARGET_IDENTITY_CHANGED'],
  ['the order was older than the approval', { pins: [shownPin('approved')], refusedByWorker: MISMATCH }, MISMATCH],
  ['a chain holds', { mode: 'strict' }, undefined],
  [
    'a chain holds, and it is rejected',
    { mode: 'strict', pins: [shownPin('rejected')] },
    'ERR_TARGET_CERTIFICATE_REJECTED',
  ],
  ['a chain holds, and there is an alarm', { mode: 'strict', hasAlarm: true }, 'ERR_TARGET_IDENTITY_CHANGED'],
  ['a chain fails at first sight', { mode: 'strict', refusedByWorker: UNTRUSTED }, UNTRUSTED],
  [
    'a chain fails, and pins say yes',
    { mode: 'strict', refusedByWorker: UNTRUSTED, pins: [shownPin('approved')] },
    UNTRUSTED,
  ],
  [
    'a chain fails where one held before',
    { mode: 'strict', refusedByWorker: UNTRUSTED, knownKeys: [OTHER] },
    UNTRUSTED,
    'alarm',
  ],
  [
    'a name fails where one held before',
    { mode: 'platform_ca', refusedByWorker: 'ERR_TARGET_CERTIFICATE_NAME', knownKeys: [OTHER] },
    'ERR_TARGET_CERTIFICATE_NAME',
    'alarm',
  ],
  [
    'a chain fails for a key that held before',
    { mode: 'strict', refusedByWorker: UNTRUSTED, knownKeys: [SHOWN.spkiSha256] },
    UNTRUSTED,
  ],
  [
    'time fails where one held before',
    { mode: 'strict', refusedByWorker: 'ERR_TARGET_CERTIFICATE_EXPIRED', knownKeys: [OTHER] },
    'ERR_TARGET_CERTIFICATE_EXPIRED',
  ],
  ['anything goes', { mode: 'insecure', pins: [otherPin('approved')], knownKeys: [OTHER] }, undefined],
  [
    'anything goes but the rejected',
    { mode: 'insecure', pins: [shownPin('rejected')] },
    'ERR_TARGET_CERTIFICATE_REJECTED',
  ],
]

t.test('a certificate is judged by this table', async t => {
  for (const [name, given, code, consequence] of TABLE) {
    const { code: got, raisesAlarm, promotes } = judge({ ...base, ...given })
    t.equal(got, code, name)
    t.equal(raisesAlarm, consequence === 'alarm', `${name}: alarm`)
    t.equal(promotes?.state, consequence === 'promote' ? 'staged' : undefined, `${name}: promotion`)
  }
})

t.test(
  'in no combination is accepted what the worker refused, what is rejected, or anything under an alarm',
  async t => {
    const states = [undefined, ...PIN_STATES] as const
    let accepted = 0
    for (const mode of ['strict', 'platform_ca', 'pinned', 'insecure'] as const) {
      for (const certificate of states) {
        for (const key of states) {
          for (const other of states) {
            for (const refusedByWorker of [undefined, UNTRUSTED, MISMATCH]) {
              for (const hasAlarm of [false, true]) {
                const pins = [
                  ...(certificate === undefined ? [] : [shownPin(certificate)]),
                  ...(key === undefined ? [] : [shownKey(key)]),
                  ...(other === undefined ? [] : [otherPin(other)]),
                ]
                const { code, raisesAlarm, promotes } = judge({ ...base, mode, pins, refusedByWorker, hasAlarm })
                const bad =
                  refusedByWorker !== undefined || hasAlarm || certificate === 'rejected' || key === 'rejected'
                const pinned = ['approved', 'staged'].some(state => state === certificate || state === key)
                if (code === undefined) accepted += 1
                if (code === undefined && (bad || (mode === 'pinned' && !pinned)))
                  t.fail(`${mode} ${certificate} ${key}`)
                if (raisesAlarm && (hasAlarm || code === undefined)) t.fail('an alarm twice, or over nothing')
                if (promotes !== undefined && code !== undefined) t.fail('a refused one is promoted')
              }
            }
          }
        }
      }
    }
    t.ok(accepted > 100)
  },
)

t.test('of several decisions about one certificate the strictest counts', async t => {
  t.equal(stateOf([], [], SHOWN), 'seen')
  t.equal(stateOf([shownPin('approved'), shownKey('rejected')], [SHOWN.fingerprintSha256], SHOWN), 'rejected')
  t.equal(stateOf([shownPin('staged')], [SHOWN.fingerprintSha256], SHOWN), 'approved')
  t.equal(stateOf([shownPin('retired'), shownKey('staged')], [], SHOWN), 'staged')
})
