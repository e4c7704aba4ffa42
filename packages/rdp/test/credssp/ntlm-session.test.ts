import t from 'tap'
import { NtlmHandle } from '../../src/credssp/ntlm-session.ts'
import { hex, toHex, utf16 } from './helper.ts'
import * as vector from './ms-nlmp-vectors.ts'

const ALTERED = { name: 'CredSspError', code: 'ERR_CREDSSP_MESSAGE_ALTERED' }
const handle = () => new NtlmHandle(vector.RANDOM_SESSION_KEY, 'client-to-server')

t.test('sealing gives the signature and the ciphertext of MS-NLMP §4.2.4.4', async t => {
  t.equal(toHex(handle().seal(utf16('Plaintext'))), toHex(vector.SEALED_PLAINTEXT))
})

t.test('messages open in the order in which they were sealed', async t => {
  const sender = handle()
  const receiver = handle()
  for (const text of ['one', '', 'three']) t.equal(toHex(receiver.unseal(sender.seal(utf16(text)))), toHex(utf16(text)))
})

t.test('every changed bit, every truncation and every extra byte is refused', async t => {
  for (let bit = 0; bit < vector.SEALED_PLAINTEXT.length * 8; bit++) {
    const changed = Uint8Array.from(vector.SEALED_PLAINTEXT)
    changed[bit >> 3]! ^= 1 << (bit & 7)
    t.throws(() => handle().unseal(changed), ALTERED, `bit ${bit}`)
  }
  for (let size = 0; size < vector.SEALED_PLAINTEXT.length; size++) {
    t.throws(() => handle().unseal(vector.SEALED_PLAINTEXT.subarray(0, size)), ALTERED, `${size} bytes`)
  }
  t.throws(() => handle().unseal(Buffer.concat([vector.SEALED_PLAINTEXT, hex('00')])), ALTERED)
})

t.test('a replayed, a skipped and a reflected message are refused', async t => {
  const sender = handle()
  const first = sender.seal(utf16('one'))
  const second = sender.seal(utf16('two'))
  const receiver = handle()
  receiver.unseal(first)
  t.throws(() => receiver.unseal(first), ALTERED, 'replayed')
  t.throws(() => handle().unseal(second), ALTERED, 'skipped')
  const otherDirection = new NtlmHandle(vector.RANDOM_SESSION_KEY, 'server-to-client')
  t.throws(() => otherDirection.unseal(first), ALTERED, 'reflected')
})

t.test('a mechListMIC takes a sequence number and leaves the key stream at its start', async t => {
  const mechList = hex('300c060a2b06010401823702020a')
  const sender = handle()
  const mic = sender.getMechListMic(mechList)
  t.equal(toHex(mic.subarray(0, 4)), '01000000')
  t.equal(toHex(mic.subarray(12)), '00000000')
  const sealed = sender.seal(utf16('Plaintext'))
  t.equal(toHex(sealed.subarray(12, 16)), '01000000', 'the next sequence number')
  t.equal(toHex(sealed.subarray(16)), toHex(vector.SEALED_PLAINTEXT.subarray(16)), 'the same ciphertext as without')
  handle().verifyMechListMic(mechList, mic)
  t.throws(() => handle().verifyMechListMic(hex('3000'), mic), ALTERED)
  t.throws(() => handle().verifyMechListMic(mechList, mic.subarray(1)), ALTERED)
})

t.test('a destroyed handle seals with keys of zeros only', async t => {
  const destroyed = handle()
  destroyed.destroy()
  t.equal(toHex(destroyed.seal(utf16('x')).subarray(16)), toHex(utf16('x')), 'no key stream is left')
})
