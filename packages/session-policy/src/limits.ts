import { type Static, Type } from '@sinclair/typebox'

/** What there is to say about one limit. Null stands for "no limit". */
interface LimitFacts {
  readonly unit: 'seconds' | 'bytes' | 'files'
  readonly min: number
  readonly max: number
  readonly default: number | null
}

const DAY = 86_400
const MIB = 2 ** 20
const GIB = 2 ** 30

/** Every limit that is a number, with its unit and bounds. A smaller one is narrower. */
export const LIMITS = {
  /** Time without anything from the person. The connection ends, the desktop stays. */
  idle_seconds: { unit: 'seconds', min: 60, max: 7 * DAY, default: null },
  /** Time from the start of the session, whatever is attached to it. The session ends. */
  session_seconds: { unit: 'seconds', min: 60, max: 30 * DAY, default: null },
  /** One clipboard text, in bytes of UTF-16LE. */
  clipboard_bytes: { unit: 'bytes', min: 2, max: 16 * MIB, default: MIB },
  upload_file_bytes: { unit: 'bytes', min: 1, max: 1024 * GIB, default: 10 * GIB },
  /** All uploads of a session together. */
  upload_session_bytes: { unit: 'bytes', min: 1, max: 4096 * GIB, default: 20 * GIB },
  upload_files: { unit: 'files', min: 1, max: 1000, default: 1000 },
} as const satisfies Record<string, LimitFacts>

/** The name of a limit that is a number. */
export type NumberLimit = keyof typeof LIMITS
export const NUMBER_LIMITS = Object.keys(LIMITS) as NumberLimit[]

const bounded = (name: NumberLimit) => Type.Integer({ minimum: LIMITS[name].min, maximum: LIMITS[name].max })
const orNone = (name: NumberLimit) => Type.Union([bounded(name), Type.Null()])

/** Lower case, without the dot; `""` stands for a name without an extension. */
const Extension = Type.String({ maxLength: 16, pattern: '^[a-z0-9_+-]*$' })
/** Extensions that may be uploaded; null stands for all. */
const Extensions = Type.Union([Type.Array(Extension, { maxItems: 100, uniqueItems: true }), Type.Null()])

/** The limits in force for one session: every one is decided. */
export const SessionLimits = Type.Object(
  {
    idle_seconds: orNone('idle_seconds'),
    session_seconds: orNone('session_seconds'),
    clipboard_bytes: bounded('clipboard_bytes'),
    upload_file_bytes: bounded('upload_file_bytes'),
    upload_session_bytes: bounded('upload_session_bytes'),
    upload_files: bounded('upload_files'),
    upload_extensions: Extensions,
  },
  { additionalProperties: false },
)
export type SessionLimits = Static<typeof SessionLimits>

/** The name of any limit. */
export type LimitName = keyof SessionLimits
export const LIMIT_NAMES = [...NUMBER_LIMITS, 'upload_extensions'] as const satisfies LimitName[]

/** The limits that a policy names; what it does not name it leaves as it is. */
export const PolicyLimits = Type.Partial(SessionLimits, { additionalProperties: false })
export type PolicyLimits = Static<typeof PolicyLimits>

/** What holds where nobody has said anything. */
export const DEFAULT_LIMITS: SessionLimits = {
  idle_seconds: LIMITS.idle_seconds.default,
  session_seconds: LIMITS.session_seconds.default,
  clipboard_bytes: LIMITS.clipboard_bytes.default,
  upload_file_bytes: LIMITS.upload_file_bytes.default,
  upload_session_bytes: LIMITS.upload_session_bytes.default,
  upload_files: LIMITS.upload_files.default,
  upload_extensions: null,
}

/** The narrower of two values of one limit. */
export function narrower<N extends LimitName>(
  name: N,
  left: SessionLimits[N],
  right: SessionLimits[N],
): SessionLimits[N] {
  if (left === null) return right
  if (right === null) return left
  if (name === 'upload_extensions') {
    const both = (left as string[]).filter(extension => (right as string[]).includes(extension))
    return both as SessionLimits[N]
  }
  return Math.min(left as number, right as number) as SessionLimits[N]
}
