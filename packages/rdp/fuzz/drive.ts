import { tryDecodeChannelChunk } from '../src/channel-pdu.ts'
import { IRP_MJ } from '../src/rdpdr/io-request.ts'
import {
  CAPABILITY_REQUEST,
  CLIENT_ID_CONFIRM,
  createBody,
  DEVICE_ACCEPTED,
  directoryBody,
  ioRequest,
  MemoryFiles,
  queryBody,
  readBody,
  SERVER_ANNOUNCE,
  Target,
  USER_LOGGED_ON,
  whole,
} from '../test/rdpdr/target.ts'
import { program, stepsOf } from './program.ts'
import type { FuzzTarget } from './promise.ts'

const OP = { message: 0, chunk: 1, clear: 2, blocked: 3, answerReads: 4, changed: 5, forget: 6, close: 7 } as const
/** A read of 1 MiB, a message of 64 KiB, and what waits. */
const MAX_BUFFERED_BYTES = 1_048_576 + 65_536 + 65 * 256
/** What a client of device redirection says. Spec: [MS-RDPEFS] §2.2.2, §2.2.1.5. */
const CLIENT_PACKETS = new Set([0x4343, 0x434e, 0x4350, 0x4441, 0x444d, 0x4943])
const COMPLETION = 0x4943
const CONTENTS = { 'report.txt': new Uint8Array(100).fill(0x61), 'Übung 2.bin': new Uint8Array(70_000).fill(0x62) }

/** Odd first byte: files answer late. Nothing throws, nobody is answered who has not asked, and what is held is bounded. */
function run(bytes: Uint8Array): void {
  const files = new MemoryFiles(CONTENTS)
  files.isPrompt = ((bytes[0] ?? 0) & 1) === 0
  const target = new Target(files)
  let asked = 0
  let answered = 0
  for (const { op, bytes: data } of stepsOf(bytes.subarray(1))) {
    if (op === OP.message || op === OP.chunk) {
      const chunk = op === OP.message ? whole(data) : tryDecodeChannelChunk(data)
      if (chunk === undefined) continue
      asked++
      target.drive.fromServer(chunk)
    } else if (op === OP.clear) {
      target.isClear = true
      target.drive.resume()
    } else if (op === OP.blocked) target.isClear = false
    else if (op === OP.answerReads) for (const answer of files.reads.splice(0)) answer()
    else if (op === OP.changed) target.drive.changed()
    else if (op === OP.forget) files.files = files.files.slice(1)
    else if (op === OP.close) target.drive.close()
    for (const message of target.take()) {
      const packetId = (message[2] ?? 0) + (message[3] ?? 0) * 256
      if (message[0] !== 0x72 || message[1] !== 0x44 || !CLIENT_PACKETS.has(packetId)) throw new Error('no client PDU')
      if (packetId === COMPLETION && ++answered > asked) throw new Error('more answers than requests')
    }
    if (target.drive.bufferedBytes > MAX_BUFFERED_BYTES) throw new Error(`holds ${target.drive.bufferedBytes} bytes`)
  }
}

const mount = [
  [OP.message, SERVER_ANNOUNCE],
  [OP.message, CAPABILITY_REQUEST],
  [OP.message, CLIENT_ID_CONFIRM],
  [OP.message, USER_LOGGED_ON],
  [OP.message, DEVICE_ACCEPTED],
] as const
const OPEN = { desiredAccess: 0x00100081, createDisposition: 1, createOptions: 0 }
let completionId = 0
const ask = (majorFunction: number, fileId: number, body: Uint8Array, minorFunction = 0) =>
  [OP.message, ioRequest({ majorFunction, minorFunction, fileId, completionId: ++completionId }, body)] as const
const create = (path: string) => ask(IRP_MJ.CREATE, 0, createBody({ ...OPEN, path }))

export const DRIVE: FuzzTarget = {
  run,
  seeds: [
    program([0], ...mount),
    program(
      [0],
      ...mount,
      create('\\report.txt'),
      ask(IRP_MJ.READ, 1, readBody(0, 64)),
      ask(IRP_MJ.CLOSE, 1, new Uint8Array(32)),
    ),
    program(
      [1],
      ...mount,
      create('\\Übung 2.bin'),
      ask(IRP_MJ.READ, 1, readBody(1, 4096)),
      ask(IRP_MJ.READ, 1, readBody(0, 70_000)),
      [OP.blocked],
      [OP.answerReads],
      [OP.clear],
      [OP.answerReads],
    ),
    program(
      [0],
      ...mount,
      create('\\'),
      ask(IRP_MJ.DIRECTORY_CONTROL, 1, directoryBody(3, '\\*'), 1),
      ask(IRP_MJ.DIRECTORY_CONTROL, 1, directoryBody(3, undefined), 1),
      ask(IRP_MJ.DIRECTORY_CONTROL, 1, new Uint8Array(32), 2),
      [OP.changed],
    ),
    program(
      [0],
      ...mount,
      create('\\'),
      ask(IRP_MJ.QUERY_INFORMATION, 1, queryBody(4)),
      ask(IRP_MJ.QUERY_VOLUME_INFORMATION, 1, queryBody(1)),
      ask(IRP_MJ.SET_INFORMATION, 1, queryBody(10)),
    ),
    program(
      [0],
      ...mount,
      ask(IRP_MJ.WRITE, 1, readBody(0, 8)),
      ask(IRP_MJ.DEVICE_CONTROL, 1, new Uint8Array(32)),
      ask(IRP_MJ.LOCK_CONTROL, 1, new Uint8Array(40)),
      [OP.forget],
      [OP.close],
    ),
    program(
      [0],
      [OP.chunk, Uint8Array.of(12, 0, 0, 0, 1, 0, 0, 0, 0x72, 0x44)],
      [OP.chunk, Uint8Array.of(12, 0, 0, 0, 2, 0, 0, 0, 0x6e, 0x49)],
    ),
  ],
}
