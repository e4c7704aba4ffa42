import { hex, toHex, utf16 } from './helper.ts'

// [MS-NLMP] §4.2.1: the common values.
export const USER = 'User'
export const DOMAIN = 'Domain'
export const WORKSTATION = 'COMPUTER'
export const PASSWORD: Uint8Array = utf16('Password')
export const RANDOM_SESSION_KEY: Uint8Array = hex('55'.repeat(16))
export const CLIENT_CHALLENGE: Uint8Array = hex('aa'.repeat(8))
export const SERVER_CHALLENGE: Uint8Array = hex('0123456789abcdef')

// [MS-NLMP] §4.2.4: the domain "Domain" and the server "Server" as AV_PAIRs.
export const TARGET_INFO: Uint8Array = hex(`
  02000c00 44006f006d00610069006e00
  01000c00 530065007200760065007200
  00000000`)

// [MS-NLMP] §4.2.4.1 and §4.2.4.2.
export const LMV2_RESPONSE: Uint8Array = hex('86c35097ac9cec102554764a57cccc19 aaaaaaaaaaaaaaaa')
export const NTLMV2_RESPONSE: Uint8Array = hex(`
  68cd0ab851e51c96aabc927bebef6a1c
  0101 0000 00000000 0000000000000000 aaaaaaaaaaaaaaaa 00000000 ${toHex(TARGET_INFO)} 00000000`)
export const SESSION_BASE_KEY: Uint8Array = hex('8de40ccadbc14a82f15cb0ad0de95ca3')
export const ENCRYPTED_SESSION_KEY: Uint8Array = hex('c5dad2544fc9799094ce1ce90bc9d03e')

// [MS-NLMP] §4.2.4.3.
export const CHALLENGE_MESSAGE: Uint8Array = hex(`
  4e544c4d53535000 02000000 0c000c0038000000 33828ae2 0123456789abcdef 0000000000000000 2400240044000000
  060070170000000f 530065007200760065007200 ${toHex(TARGET_INFO)}`)
export const AUTHENTICATE_MESSAGE: Uint8Array = hex(`
  4e544c4d53535000 03000000 180018006c000000 5400540084000000 0c000c0048000000 0800080054000000
  100010005c000000 10001000d8000000 358288e2 0501280a0000000f
  44006f006d00610069006e00 5500730065007200 43004f004d0050005500540045005200
  ${toHex(LMV2_RESPONSE)} ${toHex(NTLMV2_RESPONSE)} ${toHex(ENCRYPTED_SESSION_KEY)}`)

// [MS-NLMP] §4.2.4.4: GSS_WrapEx of "Plaintext".
export const SEALING_KEY: Uint8Array = hex('59f600973cc4960a25480a7c196e4c58')
export const SIGNING_KEY: Uint8Array = hex('4788dc861b4782f35d43fd98fe1a2d39')
export const SEALED_PLAINTEXT: Uint8Array = hex(`
  01000000 7fb38ec5c55d4976 00000000
  54e50165bf1936dc996020c1811b0f06fb5f`)
