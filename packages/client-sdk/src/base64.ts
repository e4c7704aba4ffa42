import { RapError } from './errors.ts'

/** Bytes turned into text in one call; String.fromCharCode takes its arguments on the stack. */
const SLICE_BYTES = 8192

/** Standard base64 with padding (RFC 4648 §4). */
export function encodeBase64(bytes: Uint8Array): string {
  let binary = ''
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    binary += String.fromCharCode(...bytes.subarray(at, at + SLICE_BYTES))
  }
  return btoa(binary)
}

/** Decodes base64 text. Throws RapError ERR_DATA_PLANE_PROTOCOL. */
export function decodeBase64(text: string): Uint8Array {
  let binary: string
  try {
    binary = atob(text)
  } catch {
    throw new RapError('ERR_DATA_PLANE_PROTOCOL', 'server sent text that is not base64')
  }
  const bytes = new Uint8Array(binary.length)
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at)
  return bytes
}
