import { Reader, Writer } from './cursor.ts'

/**
 * errorInfo of a Set Error Info PDU, behind the share data header: why the server is about to disconnect.
 *
 * Spec: [MS-RDPBCGR] §2.2.5.1.1 TS_SET_ERROR_INFO_PDU. Unknown codes are kept.
 * Throws WireError: TRUNCATED, TRAILING_BYTES.
 */
export function decodeSetErrorInfo(body: Uint8Array): number {
  const reader = new Reader(body, 'TS_SET_ERROR_INFO_PDU')
  const errorInfo = reader.u32le('errorInfo')
  reader.end()
  return errorInfo
}

export function encodeSetErrorInfo(errorInfo: number): Uint8Array {
  return new Writer(4).u32le(errorInfo).finish()
}
