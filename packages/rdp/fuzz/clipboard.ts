import { tryDecodeChannelChunk } from '../src/channel-pdu.ts'
import { vector } from '../test/helper.ts'
import {
  ClipboardHarness,
  type ClipboardSide,
  capabilities,
  chunksOf,
  inWords,
  LONG,
  listOk,
  noText,
  ready,
  request,
  text,
  textList,
} from '../test/relay/clipboard-harness.ts'
import { program, stepsOf } from './program.ts'
import type { FuzzTarget } from './promise.ts'

/** client, server: a whole message. client chunk, server chunk: one with any header. policy: one that is narrower. */
const OP = { client: 0, server: 1, clientChunk: 2, serverChunk: 3, policy: 4 } as const
const TO_SERVER = 1
const TO_CLIENT = 2
const MAX_BYTES = 256
/** Each side may hold one list (64 KiB) or one text. */
const MAX_BUFFERED_BYTES = 2 * (65_536 + MAX_BYTES + 72)
const DENIED: Record<ClipboardSide, number> = { server: TO_SERVER, client: TO_CLIENT }

/** The first byte is the policy. Everything that leaves is a PDU of the specification, and no text goes where none may. */
function run(bytes: Uint8Array): void {
  let allowed = bytes[0] ?? 0
  const policy = () => ({
    clientToServer: (allowed & TO_SERVER) !== 0,
    serverToClient: (allowed & TO_CLIENT) !== 0,
    maxBytes: MAX_BYTES,
  })
  const harness = new ClipboardHarness(policy())
  const { clipboard, sent } = harness
  for (const { op, bytes: data } of stepsOf(bytes.subarray(1))) {
    const chunk = op === OP.clientChunk || op === OP.serverChunk ? tryDecodeChannelChunk(data) : undefined
    if (op === OP.client) for (const each of chunksOf(data)) clipboard.fromClient(each)
    else if (op === OP.server) for (const each of chunksOf(data)) clipboard.fromServer(each)
    else if (op === OP.clientChunk && chunk !== undefined) clipboard.fromClient(chunk)
    else if (op === OP.serverChunk && chunk !== undefined) clipboard.fromServer(chunk)
    else if (op === OP.policy) {
      allowed &= data[0] ?? 0
      clipboard.setPolicy(policy())
    }
    for (const { to, bytes: message } of sent.splice(0)) {
      if (inWords(message).startsWith('text ') && (allowed & DENIED[to]) === 0) throw new Error(`a text for the ${to}`)
    }
    if (clipboard.bufferedBytes > MAX_BUFFERED_BYTES) throw new Error(`holds ${clipboard.bufferedBytes} bytes`)
  }
}

const start = [
  [OP.server, capabilities(LONG)],
  [OP.server, ready],
  [OP.client, capabilities(LONG)],
] as const

export const CLIPBOARD: FuzzTarget = {
  run,
  seeds: [
    program(
      [3],
      ...start,
      [OP.client, textList],
      [OP.server, listOk],
      [OP.server, request()],
      [OP.client, text('abc')],
    ),
    program(
      [3],
      ...start,
      [OP.server, textList],
      [OP.client, listOk],
      [OP.client, request()],
      [OP.server, text('xyz')],
    ),
    program([1], ...start, [OP.server, textList], [OP.client, request()], [OP.server, noText]),
    program([3], ...start, [OP.server, vector('clipboard-format-list-picture')], [OP.client, request(8)]),
    program([3], ...start, [OP.client, vector('clipboard-file-list')], [OP.policy, Uint8Array.of(2)]),
    program(
      [3],
      [OP.clientChunk, Uint8Array.of(12, 0, 0, 0, 1, 0, 0, 0, 2, 0)],
      [OP.client, vector('clipboard-temp-directory')],
    ),
  ],
}
