import t from 'tap'
import { encodeSendData } from '../../src/mcs/domain.ts'
import { RdpRelay } from '../../src/relay/relay.ts'
import { PDUTYPE2 } from '../../src/share.ts'
import { concat, recording } from '../helper.ts'
import { fastPath, Harness, IO, indication, options, share } from './harness.ts'

interface Turn {
  readonly from: 'client' | 'server'
  readonly bytes: Uint8Array
}

/** A session as turns: what one side sends before the other one speaks. */
function turns(name: 'recorded-shadow' | 'recorded-xrdp'): Turn[] {
  const joined: { from: 'client' | 'server'; parts: Uint8Array[] }[] = []
  for (const { from, bytes } of recording(name)) {
    const last = joined.at(-1)
    if (last?.from === from) last.parts.push(bytes)
    else joined.push({ from, parts: [bytes] })
  }
  const session = joined.map(({ from, parts }) => ({ from, bytes: concat(...parts) }))
  const user = { initiator: name === 'recorded-shadow' ? 1006 : 1005, channelId: IO }
  const input = encodeSendData('send_data_request', user, share(PDUTYPE2.INPUT))
  return [
    ...session,
    {
      from: 'server',
      bytes: concat(fastPath(200), indication(IO, share(PDUTYPE2.SAVE_SESSION_INFO, new Uint8Array(300))), fastPath(3)),
    },
    { from: 'client', bytes: concat(fastPath(5), input, fastPath(200), fastPath(5)) },
  ]
}

/** Everything that comes out, per side, when each turn is cut by `cut`. */
function run(session: readonly Turn[], cut: (bytes: Uint8Array) => readonly Uint8Array[]) {
  const toServer: Uint8Array[] = []
  const toClient: Uint8Array[] = []
  let events = 0
  const relay = new RdpRelay(options({ targetSelectedProtocol: 1, targetRequestedProtocols: 1 }), {
    toClient: bytes => toClient.push(Uint8Array.from(bytes)),
    toServer: bytes => toServer.push(Uint8Array.from(bytes)),
    event: () => events++,
  })
  for (const { from, bytes } of session) {
    for (const chunk of cut(bytes)) {
      if (from === 'client') relay.fromClient(chunk)
      else relay.fromServer(chunk)
    }
  }
  return { toServer: Buffer.concat(toServer), toClient: Buffer.concat(toClient), events, left: relay.bufferedBytes }
}

for (const name of ['recorded-shadow', 'recorded-xrdp'] as const) {
  t.test(`${name} comes out the same wherever its turns are split`, async t => {
    const session = turns(name)
    const whole = run(session, bytes => [bytes])
    t.equal(whole.left, 0)
    const longest = Math.max(...session.map(({ bytes }) => bytes.length))
    // Beyond the longest interesting part, only every 97th byte of one large picture.
    const points = Array.from({ length: longest }, (_, index) => index + 1).filter(at => at < 1200 || at % 97 === 0)
    for (const at of points) {
      const split = run(session, bytes => [bytes.subarray(0, at), bytes.subarray(at)])
      if (!split.toServer.equals(whole.toServer) || !split.toClient.equals(whole.toClient) || split.left !== 0) {
        t.fail(`split at ${at}`)
      }
      if (split.events !== whole.events) t.fail(`events when split at ${at}`)
    }
  })

  t.test(`${name} comes out the same in pieces of any size`, async t => {
    const session = turns(name)
    const whole = run(session, bytes => [bytes])
    for (let size = 1; size <= 48; size++) {
      const pieces = run(session, bytes => {
        const chunks: Uint8Array[] = []
        for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
        return chunks
      })
      if (!pieces.toServer.equals(whole.toServer) || !pieces.toClient.equals(whole.toClient) || pieces.left !== 0) {
        t.fail(`pieces of ${size}`)
      }
    }
  })
}

t.test('an empty chunk changes nothing', async t => {
  const relay = new Harness().toActive()
  t.equal(relay.client(new Uint8Array()).length, 0)
  t.equal(relay.server(new Uint8Array()).length, 0)
})
