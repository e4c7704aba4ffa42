import t from 'tap'
import { chooseWorker, type WorkerFacts } from '../../src/workers/choose-worker.ts'

function worker(id: string, change: Partial<WorkerFacts> = {}): WorkerFacts {
  return {
    id,
    labels: {},
    liveAttachments: 0,
    heartbeat: { sessions: 0, maxSessions: 10, trafficReady: true },
    ...change,
  }
}

const load = (sessions: number, maxSessions = 10, trafficReady = true) => ({ sessions, maxSessions, trafficReady })

interface Case {
  readonly rule: string
  readonly workers: WorkerFacts[]
  readonly labels?: Record<string, string>
  readonly random?: number
  readonly preferred?: string
  readonly expected: object
}

const CASES: Case[] = [
  { rule: 'nobody is there', workers: [], expected: { reason: 'none_alive' } },
  {
    rule: 'the preferred one has it, however much the others are free',
    workers: [worker('a'), worker('b', { heartbeat: load(9) })],
    preferred: 'b',
    expected: { workerId: 'b' },
  },
  {
    rule: 'the preferred one is full',
    workers: [worker('a'), worker('b', { liveAttachments: 10 })],
    preferred: 'b',
    expected: { workerId: 'a' },
  },
  {
    rule: 'the preferred one does not carry the labels',
    workers: [worker('a', { labels: { site: 'north' } }), worker('b')],
    labels: { site: 'north' },
    preferred: 'b',
    expected: { workerId: 'a' },
  },
  {
    rule: 'the preferred one is not there',
    workers: [worker('a'), worker('b', { heartbeat: undefined })],
    preferred: 'b',
    expected: { workerId: 'a' },
  },
  {
    rule: 'nobody has a heartbeat',
    workers: [worker('a', { heartbeat: undefined })],
    expected: { reason: 'none_alive' },
  },
  {
    rule: 'a worker that takes no traffic is not there',
    workers: [worker('a', { heartbeat: load(0, 10, false) })],
    expected: { reason: 'none_alive' },
  },
  {
    rule: 'every label of the resource must be there, with its value',
    workers: [
      worker('a', { labels: { site: 'north' } }),
      worker('b', { labels: { site: 'south', tier: '1' } }),
      worker('c', { labels: { site: 'north', tier: '1', more: 'x' } }),
    ],
    labels: { site: 'north', tier: '1' },
    expected: { workerId: 'c' },
  },
  {
    rule: 'nobody has the labels',
    workers: [worker('a', { labels: { site: 'north' } })],
    labels: { site: 'south' },
    expected: { reason: 'none_with_labels' },
  },
  {
    rule: 'names of Object.prototype are no labels',
    workers: [worker('a')],
    labels: { constructor: 'x' },
    expected: { reason: 'none_with_labels' },
  },
  {
    rule: 'the least loaded by share of its own maximum is chosen',
    workers: [worker('a', { heartbeat: load(3, 10) }), worker('b', { heartbeat: load(20, 100) })],
    expected: { workerId: 'b' },
  },
  {
    rule: 'sessions that the heartbeat does not know yet count',
    workers: [worker('a', { liveAttachments: 6 }), worker('b', { heartbeat: load(5) })],
    expected: { workerId: 'b' },
  },
  {
    rule: 'a heartbeat that says less than the database does not attract sessions',
    workers: [worker('a', { liveAttachments: 10, heartbeat: load(0) }), worker('b', { heartbeat: load(9) })],
    expected: { workerId: 'b' },
  },
  {
    rule: 'everybody is full',
    workers: [worker('a', { heartbeat: load(10) }), worker('b', { liveAttachments: 11 })],
    expected: { reason: 'all_full' },
  },
  {
    rule: 'a maximum of nothing is full',
    workers: [worker('a', { heartbeat: load(0, 0) })],
    expected: { reason: 'all_full' },
  },
  {
    rule: 'chance decides between equals (first)',
    workers: [worker('a'), worker('b')],
    random: 0,
    expected: { workerId: 'a' },
  },
  {
    rule: 'chance decides between equals (last)',
    workers: [worker('a'), worker('b')],
    random: 0.999,
    expected: { workerId: 'b' },
  },
]

for (const { rule, workers, labels = {}, random = 0, preferred, expected } of CASES) {
  t.test(rule, async t => {
    t.same(chooseWorker({ workers, labels, random, preferred }), expected)
  })
}
