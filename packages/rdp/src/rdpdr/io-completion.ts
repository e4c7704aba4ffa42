import type { Writer } from '../cursor.ts'
import { coreMessage, PAKID_CORE } from './header.ts'
import { type IoRequestHeader, IRP_MJ } from './io-request.ts'
import { NT_STATUS } from './nt-status.ts'

/** RDPDR_HEADER (4) · DeviceId (4) · CompletionId (4) · IoStatus (4). */
const IO_COMPLETION_BYTES = 16

/** DR_DEVICE_IOCOMPLETION, and room for what follows. Spec: [MS-RDPEFS] §2.2.1.5, §2.2.3.4. */
function ioCompletion(header: IoRequestHeader, ioStatus: number, bodyBytes: number): Writer {
  return coreMessage(PAKID_CORE.DEVICE_IOCOMPLETION, IO_COMPLETION_BYTES + bodyBytes)
    .u32le(header.deviceId)
    .u32le(header.completionId)
    .u32le(ioStatus)
}

/** Requests whose answer without data has no fifth byte. */
const FOUR_BYTE_ANSWERS: ReadonlySet<number> = new Set([IRP_MJ.CLOSE, IRP_MJ.READ, IRP_MJ.DEVICE_CONTROL])

/**
 * The answer without data: Length or FileId, and one byte of Information or padding where the request's answer has it.
 *
 * A refusal has it too, since servers read it before they look at IoStatus. `length` is that of the request where the
 * answer repeats it (set information), and 0 elsewhere.
 */
export function encodeEmptyCompletion(header: IoRequestHeader, ioStatus: number, length = 0): Uint8Array {
  const padding = FOUR_BYTE_ANSWERS.has(header.majorFunction) ? 0 : 1
  return ioCompletion(header, ioStatus, 4 + padding)
    .u32le(length)
    .zeros(padding)
    .finish()
}

/** FileId (4) · Information (1). Spec: [MS-RDPEFS] §2.2.3.4.1. */
export function encodeCreateCompletion(header: IoRequestHeader, fileId: number, information: number): Uint8Array {
  return ioCompletion(header, NT_STATUS.SUCCESS, 5).u32le(fileId).u8(information).finish()
}

/** Length (4) · Buffer: the answer of every query, and of a read. */
export function encodeBufferCompletion(header: IoRequestHeader, buffer: Uint8Array): Uint8Array {
  return ioCompletion(header, NT_STATUS.SUCCESS, 4 + buffer.length)
    .u32le(buffer.length)
    .bytes(buffer)
    .finish()
}
