import type { SessionWithAttachment } from '@rap/client-sdk'
import type { Ending } from './ending.ts'

/** Endings that the policy brings, by the reason of the worker or of the control plane. */
const BY_POLICY: Readonly<Record<string, Pick<Ending, 'title' | 'detail' | 'remedy' | 'canResume'>>> = {
  ERR_SESSION_IDLE_LIMIT: {
    title: 'Disconnected after a time without activity',
    detail: 'Nothing was done here for as long as the policy allows. The desktop keeps running.',
    remedy: 'Resume to go on where you left it.',
    canResume: true,
  },
  ERR_SESSION_TIME_LIMIT: {
    title: 'The time of this session is over',
    detail: 'It lasted as long as the policy allows, and was ended. Its files in RAP_Transfers are removed.',
    remedy: 'Start a new session to go on.',
    canResume: false,
  },
  ERR_SESSION_POLICY: {
    title: 'Closed by a change of the policy',
    detail: 'What this connection was for is no longer allowed. The desktop keeps running.',
    remedy: 'Resume with what is allowed now, or ask your administrator.',
    canResume: true,
  },
}

interface Facts {
  /** The session as the server has it; undefined where it does not answer. */
  readonly record: Pick<SessionWithAttachment, 'state' | 'end_reason' | 'attachment'> | undefined
  /** The attachment that this page had. */
  readonly attachmentId: string
  /** What the worker said as it closed. */
  readonly heard: string | undefined
}

/** The ending in the words of the policy that brought it; undefined where it did not, or something failed besides. */
export function endingByPolicy<T extends Pick<Ending, 'code' | 'failed'>>(ending: T, facts: Facts): T | undefined {
  const code = reasonOf(facts)
  const words = BY_POLICY[code ?? '']
  if (code === undefined || words === undefined) return undefined
  // A connection that seems lost is one that the server has not heard of yet.
  const isFailure = ending.failed && ending.code !== 'ERR_CONNECTION_LOST'
  const isOverOtherwise = code !== 'ERR_SESSION_TIME_LIMIT' && facts.record?.state === 'terminated'
  return isFailure || isOverOtherwise ? undefined : { ...ending, ...words, code, failed: false }
}

/** The server's word on it, and the worker's where the server has not heard of it yet. */
function reasonOf({ record, attachmentId, heard }: Facts): string | undefined {
  if (record === undefined) return heard
  const { end_reason: ofSession, attachment } = record
  return ofSession ?? (attachment?.id === attachmentId ? (attachment.reason ?? heard) : undefined)
}
