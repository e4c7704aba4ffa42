import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { decodeX224ConnectionConfirm, PROTOCOL } from '@rap/rdp'
import { findSecret, newCanary, waitFor } from '@rap/testkit'
import t from 'tap'
import { rdCleanPathRequest } from '../client.ts'
import { input, startDesktop, update } from '../desktop.ts'
import { payloadOf } from '../resolver.ts'
import { TestWorker } from '../worker.ts'

const worker = await TestWorker.start(t)
const desktop = await startDesktop(t)
const SCREEN = update(Buffer.alloc(5000, 0x5a))
const KEYS = input(Buffer.alloc(40, 0xa5))

t.test('json_v1 and binary_v1 bring a desktop up and carry bytes both ways', async t => {
  for (const transport of ['json_v1', 'binary_v1'] as const) {
    const at = desktop.sessions.length
    const place = await worker.ready({ address: desktop.address })
    const { client, outcome } = await worker.bind(place, { transport })
    t.equal(outcome, 'bound', transport)
    t.same(client.texts, [
      {
        type: 'bound',
        protocol_version: 1,
        session_id: place.session_id,
        attachment_id: place.attachment_id,
        allowed_channels: ['display', 'input'],
        runtime_transport: transport,
      },
    ])
    await client.rdp?.toActive()
    const session = await desktop.session(at)
    session.send(SCREEN)
    session.send(SCREEN.subarray(0, 100))
    session.send(SCREEN.subarray(100))
    await waitFor(() => client.rdp?.receivedBytes === 2 * SCREEN.length, { what: 'two updates' })
    t.ok(Buffer.concat(client.rdp?.chunks ?? []).equals(Buffer.concat([SCREEN, SCREEN])), 'unchanged')
    client.sendRdp(Buffer.concat([KEYS, KEYS.subarray(0, 3)]))
    client.sendRdp(KEYS.subarray(3))
    await waitFor(() => session.received.length === 2, { what: 'two inputs' })
    t.ok(session.receivedBytes().equals(Buffer.concat([KEYS, KEYS])), 'unchanged')
    client.socket.close(1000)
    const report = await worker.controlPlane.reported(place.attachment_id, 'closed')
    t.match(report, { reason: 'client_closed', stats: { paused_count: 0 } })
    t.ok((report.stats?.to_client_bytes ?? 0) >= 2 * SCREEN.length)
  }
})

t.test('rdcleanpath_v1 shows the worker and never the target, and carries bytes both ways', async t => {
  const at = desktop.sessions.length
  const place = await worker.ready({ address: desktop.address })
  const client = await worker.connect()
  const destination = `rap-resource://${place.resource_id}`
  const answer = await client.bindRdCleanPath(rdCleanPathRequest({ ...(await worker.credentials(place)), destination }))
  if (answer.type !== 'response') throw new Error('refused')
  t.equal(answer.serverAddr, 'rap')
  t.match(decodeX224ConnectionConfirm(answer.x224ConnectionPdu ?? new Uint8Array()), {
    negotiation: { type: 'response', selectedProtocol: PROTOCOL.SSL },
  })
  const own = new X509Certificate(readFileSync(worker.files.certFile)).raw
  t.ok(Buffer.from(answer.serverCertChain?.[0] ?? []).equals(own), 'the certificate of the worker')
  await client.rdp?.toActive()
  const session = await desktop.session(at)
  session.send(SCREEN)
  client.sendRdp(KEYS)
  await waitFor(() => client.rdp?.receivedBytes === SCREEN.length, { what: 'an update' })
  await waitFor(() => session.receivedBytes().equals(KEYS), { what: 'the input' })
  t.same(client.texts, [], 'nothing but binary messages')
})

t.test('the account reaches the target and nobody else', async t => {
  const password = newCanary()
  worker.resolver.payload = payloadOf('svc', password)
  const { client, place } = await worker.desktop({ address: desktop.address })
  const session = desktop.sessions.at(-1)
  t.not(session?.info.length, 0)
  t.ok(findSecret(session?.info ?? Buffer.alloc(0), password).length > 0, 'in the Client Info PDU')
  t.same(findSecret(Buffer.concat(client.rdp?.chunks ?? []), password), [], 'not to the client')
  t.notMatch(session?.info.toString('utf16le'), /mallory|EVIL/, 'what the client has sent is dropped')
  client.socket.close()
  await worker.controlPlane.reported(place.attachment_id, 'closed')
  t.same(findSecret(worker.lines.join(''), password), [], 'not in the log')
  t.same(findSecret(JSON.stringify(worker.controlPlane.peer.requests), password), [], 'not to the control plane')
  worker.resolver.payload = payloadOf('svc', 'secret')
})

t.test('a client that says close leaves the desktop as it is', async t => {
  for (const transport of ['json_v1', 'binary_v1'] as const) {
    const { client, place } = await worker.desktop({ address: desktop.address }, { transport })
    client.socket.send('{"type":"close"}')
    t.same(await client.closed, { code: 4000, reason: 'ERR_SESSION_DETACHED' })
    t.match(client.texts.at(-1), {
      type: 'closing',
      code: 4000,
      reason: 'ERR_SESSION_DETACHED',
      detail: String,
    })
    t.match(await worker.controlPlane.reported(place.attachment_id, 'closed'), { reason: 'ERR_SESSION_DETACHED' })
  }
})

t.test('an end on either side ends the other, with its reason', async t => {
  const closing = await worker.desktop({ address: desktop.address })
  desktop.sessions.at(-1)?.socket.end()
  t.same(await closing.client.closed, { code: 4504, reason: 'ERR_RELAY_TARGET_CLOSED' })

  const resetting = await worker.desktop({ address: desktop.address })
  desktop.connections.at(-1)?.resetAndDestroy()
  t.match(await resetting.client.closed, { code: 4504, reason: /ERR_RELAY_TARGET_(LOST|CLOSED)/ })

  const leaving = await worker.desktop({ address: desktop.address })
  const socket = desktop.connections.at(-1)
  leaving.client.socket.terminate()
  await waitFor(() => socket?.destroyed, { what: 'the end of the target' })
  await worker.controlPlane.reported(leaving.place.attachment_id, 'closed')
})

t.test('a message that is not of the bound transport ends this relay alone', async t => {
  const bystander = await worker.desktop({ address: desktop.address })
  const other = desktop.sessions.at(-1)
  for (const [transport, message] of [
    ['json_v1', Buffer.from('binary')],
    ['json_v1', 'text'],
    ['json_v1', '{"type":"rdp"}'],
    ['json_v1', '{"type":"rdp","data":"####"}'],
    ['json_v1', '{"type":"rdp","data":""}'],
    ['json_v1', '{"type":"rdp","data":"AAAA","more":1}'],
    ['json_v1', '{"type":"bind"}'],
    ['json_v1', '{"type":"__proto__"}'],
    ['json_v1', 'null'],
    ['binary_v1', '{"type":"rdp","data":"AAAA"}'],
    ['binary_v1', 'text'],
    ['binary_v1', ''],
  ] as const) {
    const place = await worker.ready({ address: desktop.address })
    const { client } = await worker.bind(place, { transport })
    client.socket.send(message)
    t.same(await client.closed, { code: 4400, reason: 'ERR_RELAY_MALFORMED_MESSAGE' }, `${transport}: ${message}`)
    t.match(client.texts.at(-1), { type: 'closing', reason: 'ERR_RELAY_MALFORMED_MESSAGE' })
  }
  const place = await worker.ready({ address: desktop.address })
  const cleanPath = await worker.connect()
  await cleanPath.bindRdCleanPath(
    rdCleanPathRequest({ ...(await worker.credentials(place)), destination: place.resource_id }),
  )
  cleanPath.socket.send('{"type":"close"}')
  t.same(await cleanPath.closed, { code: 4400, reason: 'ERR_RELAY_MALFORMED_MESSAGE' }, 'text after RDCleanPath')
  other?.send(SCREEN)
  await waitFor(() => bystander.client.rdp?.receivedBytes === SCREEN.length, { what: 'the desktop of somebody else' })
})

t.test('a channel outside the allow-list is refused and audited, and the desktop comes up without it', async t => {
  const { place } = await worker.desktop({ address: desktop.address })
  const entry = await waitFor(
    () =>
      worker.controlPlane.audited.find(
        ({ event, attachment_id, details }) =>
          event === 'channel_refused' && attachment_id === place.attachment_id && details?.channels !== undefined,
      ),
    { what: 'the audit of the channel' },
  )
  t.match(entry, {
    code: 'ERR_CHANNEL_REFUSED',
    session_id: place.session_id,
    details: { channels: 'static rdpdr, static cliprdr, transport udp' },
  })
})

t.test('without the input channel a client looks and touches nothing', async t => {
  const place = await worker.ready({ address: desktop.address })
  const { client } = await worker.bind(place, { channels: ['display'] })
  await client.rdp?.toActive()
  const session = desktop.sessions.at(-1)
  client.sendRdp(KEYS)
  session?.send(SCREEN)
  await waitFor(() => client.rdp?.receivedBytes === SCREEN.length, { what: 'the screen' })
  client.socket.send('{"type":"close"}')
  await client.closed
  t.equal(session?.received.length, 0)
})
