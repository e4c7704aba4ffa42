import { createHash, timingSafeEqual } from 'node:crypto'

const CLIENT_TO_SERVER = Buffer.from('CredSSP Client-To-Server Binding Hash\0', 'latin1')
const SERVER_TO_CLIENT = Buffer.from('CredSSP Server-To-Client Binding Hash\0', 'latin1')

export interface PublicKeyBinding {
  /** Negotiated version: the lower one of both sides. */
  readonly version: number
  /** 32 bytes; used from version 5 on. */
  readonly clientNonce: Uint8Array
  readonly serverPublicKey: Uint8Array
}

/** Plaintext of the client's pubKeyAuth. Spec: [MS-CSSP] §3.1.5 step 3. */
export function clientPublicKeyProof({ version, clientNonce, serverPublicKey }: PublicKeyBinding): Uint8Array {
  return version < 5 ? serverPublicKey : bindingHash(CLIENT_TO_SERVER, clientNonce, serverPublicKey)
}

/** Whether the plaintext of the server's pubKeyAuth is the one of this key. Spec: [MS-CSSP] §3.1.5 step 4. */
export function isServerPublicKeyProof(binding: PublicKeyBinding, proof: Uint8Array): boolean {
  const expected = serverPublicKeyProof(binding)
  return expected.length === proof.length && timingSafeEqual(expected, proof)
}

function serverPublicKeyProof({ version, clientNonce, serverPublicKey }: PublicKeyBinding): Uint8Array {
  if (version >= 5) return bindingHash(SERVER_TO_CLIENT, clientNonce, serverPublicKey)
  const incremented = Uint8Array.from(serverPublicKey)
  incremented[0] = (incremented[0] ?? 0) + 1
  return incremented
}

function bindingHash(magic: Uint8Array, clientNonce: Uint8Array, serverPublicKey: Uint8Array): Uint8Array {
  return createHash('sha256').update(magic).update(clientNonce).update(serverPublicKey).digest()
}
