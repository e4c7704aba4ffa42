import { createHash } from 'node:crypto'
import t from 'tap'
import { clientPublicKeyProof, isServerPublicKeyProof } from '../../src/credssp/public-key-binding.ts'
import { hex, SERVER_PUBLIC_KEY, toHex } from './helper.ts'

const NONCE = hex('0c'.repeat(32))
const binding = (version: number, serverPublicKey = SERVER_PUBLIC_KEY) => ({
  version,
  clientNonce: NONCE,
  serverPublicKey,
})
const hashOf = (direction: string) =>
  createHash('sha256').update(`CredSSP ${direction} Binding Hash\0`).update(NONCE).update(SERVER_PUBLIC_KEY).digest()

t.test('versions 2 to 4 send the public key and expect its first byte plus one', async t => {
  for (const version of [2, 3, 4]) {
    t.equal(toHex(clientPublicKeyProof(binding(version))), toHex(SERVER_PUBLIC_KEY))
    const expected = Uint8Array.from(SERVER_PUBLIC_KEY)
    expected[0] = 0x31
    t.ok(isServerPublicKeyProof(binding(version), expected))
    t.notOk(isServerPublicKeyProof(binding(version), SERVER_PUBLIC_KEY), 'an echo is no proof')
    t.notOk(isServerPublicKeyProof(binding(version), hashOf('Server-To-Client')))
  }
  t.ok(isServerPublicKeyProof(binding(2, hex('ff00')), hex('0000')), 'the first byte wraps')
})

t.test('versions 5 and 6 bind the nonce and the direction', async t => {
  for (const version of [5, 6]) {
    t.equal(toHex(clientPublicKeyProof(binding(version))), toHex(hashOf('Client-To-Server')))
    t.ok(isServerPublicKeyProof(binding(version), hashOf('Server-To-Client')))
    t.notOk(isServerPublicKeyProof(binding(version), hashOf('Client-To-Server')), 'an echo is no proof')
    const otherNonce = { ...binding(version), clientNonce: hex('0d'.repeat(32)) }
    t.notOk(isServerPublicKeyProof(otherNonce, hashOf('Server-To-Client')))
    t.notOk(isServerPublicKeyProof(binding(version), hex('')))
  }
})
