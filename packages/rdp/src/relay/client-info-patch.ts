import { decodeInfoPacket, encodeInfoPacket, INFO, MAX_INFO_TEXT_BYTES } from '../client-info.ts'
import { PERF, TIME_ZONE_BYTES, type TsExtendedInfoPacket } from '../extended-info.ts'
import { utf16 } from '../utf16.ts'
import type { RelayCredentials, RelayOptions, RenderQualityProfile } from './types.ts'

/** What of the client's own flags reaches the target. */
const KEPT_FLAGS = INFO.ENABLEWINDOWSKEY | INFO.MOUSE_HAS_WHEEL | INFO.VIDEO_DISABLE

/**
 * The rest is decided here: no compression, no sound, no remote programs, no claims about where the password came from.
 *
 * xrdp ends a connection without MOUSE, DISABLECTRLALTDEL, UNICODE and MAXIMIZESHELL, which not every client sets.
 */
const SET_FLAGS =
  INFO.MOUSE |
  INFO.DISABLECTRLALTDEL |
  INFO.UNICODE |
  INFO.MAXIMIZESHELL |
  INFO.LOGONNOTIFY |
  INFO.LOGONERRORS |
  INFO.NOAUDIOPLAYBACK

const PERFORMANCE_FLAGS: Record<RenderQualityProfile, number> = {
  low:
    PERF.DISABLE_WALLPAPER |
    PERF.DISABLE_FULLWINDOWDRAG |
    PERF.DISABLE_MENUANIMATIONS |
    PERF.DISABLE_THEMING |
    PERF.DISABLE_CURSOR_SHADOW |
    PERF.DISABLE_CURSORSETTINGS,
  balanced: PERF.DISABLE_FULLWINDOWDRAG | PERF.DISABLE_MENUANIMATIONS | PERF.ENABLE_FONT_SMOOTHING,
  high: PERF.ENABLE_FONT_SMOOTHING | PERF.ENABLE_DESKTOP_COMPOSITION,
}

const EMPTY = new Uint8Array()

/** Throws TypeError when a name or the password cannot be put into an info packet: at most 255 UTF-16 units each. */
export function checkCredentials(credentials: RelayCredentials): void {
  const sizes = [credentials.username.length * 2, credentials.domain.length * 2, credentials.password.length]
  if (sizes.some(size => size > MAX_INFO_TEXT_BYTES) || credentials.password.length % 2 !== 0) {
    throw new TypeError('credentials do not fit an info packet')
  }
}

/**
 * The info packet as the target gets it: our credentials, the client's keyboard, address and time zone, and nothing
 * else that the client said.
 *
 * Spec: [MS-RDPBCGR] §2.2.1.11.1.1. The result holds the password; the caller zeroes it. Throws WireError.
 */
export function patchInfoPacket(
  bytes: Uint8Array,
  credentials: RelayCredentials | undefined,
  policy: RelayOptions['policy'],
): Uint8Array {
  const packet = decodeInfoPacket(bytes)
  const unicode = (packet.flags & INFO.UNICODE) !== 0
  return encodeInfoPacket({
    // With UNICODE it is the input locale, without it a code page that no text is in any more.
    codePage: unicode ? packet.codePage : 0,
    flags: (packet.flags & KEPT_FLAGS) | SET_FLAGS | (credentials === undefined ? 0 : INFO.AUTOLOGON),
    domain: credentials === undefined ? EMPTY : utf16(credentials.domain),
    userName: credentials === undefined ? EMPTY : utf16(credentials.username),
    password: credentials?.password ?? EMPTY,
    alternateShell: EMPTY,
    workingDir: EMPTY,
    extraInfo: patchExtraInfo(packet.extraInfo, unicode, policy.renderQualityProfile),
  })
}

function patchExtraInfo(
  info: TsExtendedInfoPacket | undefined,
  unicode: boolean,
  profile: RenderQualityProfile,
): TsExtendedInfoPacket {
  const text = (bytes: Uint8Array | undefined): Uint8Array => {
    if (bytes === undefined || bytes.length === 0) return new Uint8Array(2)
    return unicode ? bytes : widen(bytes)
  }
  return {
    clientAddressFamily: info?.clientAddressFamily ?? 2,
    clientAddress: text(info?.clientAddress),
    clientDir: text(info?.clientDir),
    clientTimeZone: info?.clientTimeZone ?? new Uint8Array(TIME_ZONE_BYTES),
    clientSessionId: 0,
    performanceFlags: PERFORMANCE_FLAGS[profile],
    // A client's cookie would log on to a session of its choice instead of with our credentials.
    autoReconnectCookie: EMPTY,
    ...(info?.dynamicTimeZone !== undefined && { dynamicTimeZone: info.dynamicTimeZone }),
  }
}

/** ANSI to UTF-16LE; address and directory are ASCII wherever they matter. */
function widen(bytes: Uint8Array): Uint8Array {
  const wide = new Uint8Array(bytes.length * 2)
  bytes.forEach((byte, index) => {
    wide[index * 2] = byte
  })
  return wide
}
