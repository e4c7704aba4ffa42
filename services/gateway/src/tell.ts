import { CLOSE_REASONS, type CloseReason } from '@rap/data-plane-protocol'
import { encodeRdCleanPathAnswer, RDCLEANPATH_ERROR } from '@rap/rdp'
import type { WebSocket } from 'ws'
import type { Dialect } from './first-message.ts'

/** HTTP statuses that an RDCleanPath error carries for our close codes; everything else is 401. */
const HTTP_STATUS: Readonly<Record<number, number>> = {
  4400: 400,
  4408: 408,
  4413: 413,
  4429: 503,
  4500: 500,
  4502: 502,
  4503: 503,
  4004: 503,
}

/** Tells a client, in its own dialect, why the connection ends, and closes it. */
export function closeWithReason(socket: WebSocket, reason: CloseReason, dialect?: Dialect): void {
  const { code, detail } = CLOSE_REASONS[reason]
  socket.resume()
  if (socket.readyState !== socket.OPEN) return
  if (dialect === 'json') socket.send(JSON.stringify({ type: 'closing', code, reason, detail }))
  if (dialect === 'rdcleanpath') {
    const httpStatusCode = HTTP_STATUS[code] ?? 401
    socket.send(encodeRdCleanPathAnswer({ type: 'error', errorCode: RDCLEANPATH_ERROR.GENERAL, httpStatusCode }))
  }
  socket.close(code, reason)
}
