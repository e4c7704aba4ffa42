import t from 'tap'
import { dataPlaneUrlOf } from '../../src/workers/announce.ts'
import { parseHeartbeat } from '../../src/workers/registry.ts'

t.test('the URL of a worker is a data plane over TLS and nothing else', async t => {
  t.equal(dataPlaneUrlOf('wss://W.example:8443/data-plane/v1'), 'wss://w.example:8443/data-plane/v1')
  t.equal(dataPlaneUrlOf('wss://[2001:db8::1]/data-plane/v1'), 'wss://[2001:db8::1]/data-plane/v1')
  for (const url of [
    'ws://w.example/data-plane/v1',
    'https://w.example/data-plane/v1',
    'wss://w.example/',
    'wss://w.example/data-plane/v1/',
    'wss://w.example/data-plane/v1?',
    'wss://w.example/data-plane/v1?token=x',
    'wss://w.example/data-plane/v1#x',
    'wss://user@w.example/data-plane/v1',
    'wss://user:password@w.example/data-plane/v1',
    'wss://0.0.0.0/data-plane/v1',
    'wss://[::]/data-plane/v1',
    'wss://w.example./data-plane/v1',
    `wss://${'a'.repeat(600)}/data-plane/v1`,
    'not a url',
  ]) {
    t.equal(dataPlaneUrlOf(url), undefined, url)
  }
})

t.test('a heartbeat is read by its form, and only if it is of this worker', async t => {
  const heartbeat = { worker_id: 'w', load: { sessions: 1, max_sessions: 5 }, traffic_ready: true, public_url: 'x' }
  t.same(parseHeartbeat(JSON.stringify(heartbeat), 'w'), { sessions: 1, maxSessions: 5, trafficReady: true })
  for (const value of [
    '',
    'x',
    'null',
    '[]',
    undefined,
    JSON.stringify({ ...heartbeat, worker_id: 'other' }),
    JSON.stringify({ ...heartbeat, load: { sessions: -1, max_sessions: 5 } }),
    JSON.stringify({ ...heartbeat, load: { sessions: 1e9, max_sessions: 5 } }),
    JSON.stringify({ ...heartbeat, load: 'none' }),
    JSON.stringify({ ...heartbeat, traffic_ready: 'yes' }),
    JSON.stringify({ ...heartbeat, filler: 'x'.repeat(8192) }),
  ]) {
    t.equal(parseHeartbeat(value, 'w'), undefined)
  }
})
