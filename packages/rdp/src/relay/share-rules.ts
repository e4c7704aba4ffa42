import type { Channel } from '@rap/session-policy'
import { PDUTYPE2 } from '../share.ts'

/** Share data PDUs that a client may send. What is not listed is dropped. */
const FROM_CLIENT: readonly (readonly [pduType2: number, needs?: Channel])[] = [
  [PDUTYPE2.INPUT, 'input'],
  [PDUTYPE2.CONTROL],
  [PDUTYPE2.SYNCHRONIZE],
  [PDUTYPE2.REFRESH_RECT],
  [PDUTYPE2.SUPPRESS_OUTPUT],
  [PDUTYPE2.SHUTDOWN_REQUEST],
  [PDUTYPE2.FONTLIST],
  [PDUTYPE2.BITMAPCACHE_PERSISTENT_LIST],
  [PDUTYPE2.BITMAPCACHE_ERROR],
  [PDUTYPE2.OFFSCRCACHE_ERROR],
  [PDUTYPE2.DRAWNINEGRID_ERROR],
  [PDUTYPE2.DRAWGDIPLUS_ERROR],
  [PDUTYPE2.FRAME_ACKNOWLEDGE],
]

/** Share data PDUs that a server may send untouched. Save Session Info and Set Error Info are looked into. */
const FROM_SERVER: readonly (readonly [pduType2: number, needs?: Channel])[] = [
  [PDUTYPE2.UPDATE, 'display'],
  [PDUTYPE2.POINTER, 'display'],
  [PDUTYPE2.CONTROL],
  [PDUTYPE2.SYNCHRONIZE],
  [PDUTYPE2.PLAY_SOUND],
  [PDUTYPE2.SHUTDOWN_DENIED],
  [PDUTYPE2.FONTMAP],
  [PDUTYPE2.SET_KEYBOARD_INDICATORS],
  [PDUTYPE2.SET_KEYBOARD_IME_STATUS],
  [PDUTYPE2.ARC_STATUS],
  [PDUTYPE2.STATUS_INFO],
  [PDUTYPE2.MONITOR_LAYOUT],
]

/** A table by pduType2 with 1 for what passes under a policy. */
export function passableFrom(side: 'client' | 'server', channels: ReadonlySet<Channel>): Uint8Array {
  const table = new Uint8Array(256)
  for (const [pduType2, needs] of side === 'client' ? FROM_CLIENT : FROM_SERVER) {
    if (needs === undefined || channels.has(needs)) table[pduType2] = 1
  }
  return table
}
