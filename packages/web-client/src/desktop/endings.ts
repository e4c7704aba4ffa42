import type { RapClient, Session, SessionWithAttachment } from '@rap/client-sdk'
import { explain } from '../auth/auth.tsx'
import type { Ending } from './ending.ts'
import { describeIronError } from './iron.ts'
import { endingByPolicy } from './policy-endings.ts'

const ENDINGS: Readonly<Record<string, Pick<Ending, 'title' | 'detail'>>> = {
  detached: { title: 'Disconnected', detail: 'The desktop keeps running. Resume to go on where you left it.' },
  terminated: { title: 'Session ended', detail: 'This session was ended.' },
  elsewhere: { title: 'Opened somewhere else', detail: 'This session was taken over by another connection of yours.' },
  lost: { title: 'Connection lost', detail: 'The desktop keeps running. Resume to go on where you left it.' },
}

/** How long a server that has not heard of an end yet is asked again, and how often, in milliseconds. */
const SETTLE_MS = 3000
/** However slow its answers are. */
const LEAST_ASKED = 3
const ASK_MS = 300

/**
 * Why a desktop that was up is gone; `reason` resolves with what the worker says on the connection beside it, in the same moment or never. The
 * server hears of an end from the worker too, so what looks lost is asked about for a while.
 */
export async function endingOf(rap: RapClient, session: Session, reason: Promise<string>): Promise<Ending> {
  let heard: string | undefined
  void reason.then(said => {
    heard = said
  })
  const until = performance.now() + SETTLE_MS
  for (let asked = 1; ; asked++) {
    const record = await rap.sessions.get(session.id).catch(() => undefined)
    const ending = wordsOf(record, session)
    const byPolicy = endingByPolicy(ending, { record, attachmentId: session.attachment.id, heard })
    if (byPolicy !== undefined) return byPolicy
    const isSettled = asked >= LEAST_ASKED && performance.now() > until
    if (ending.code !== 'ERR_CONNECTION_LOST' || isSettled) return ending
    const pause = new Promise(resolve => setTimeout(resolve, ASK_MS))
    await (heard === undefined ? Promise.race([reason, pause]) : pause)
  }
}

function wordsOf(record: SessionWithAttachment | undefined, session: Session): Ending {
  const base = { failed: false, canResume: false, sessionId: session.id, resourceId: session.record.resource_id }
  if (record === undefined)
    return { ...base, ...known('lost'), code: 'ERR_CONNECTION_LOST', failed: true, canResume: true }
  if (record.failure !== undefined && record.failure !== null) {
    const { code, title, detail, remedy } = record.failure
    return { ...base, title: title ?? 'The session failed', detail: detail ?? '', remedy, code, failed: true }
  }
  if (record.state === 'terminated') return { ...base, ...known('terminated'), code: 'ERR_SESSION_TERMINATED' }
  if (record.attachment !== null && record.attachment.id !== session.attachment.id) {
    return { ...base, ...known('elsewhere'), code: 'ERR_SESSION_TAKEN_OVER', canResume: true }
  }
  // Still held for this page by a worker that has not noticed: the network between them was lost.
  if (record.state === 'active' || record.state === 'ready') {
    return { ...base, ...known('lost'), code: 'ERR_CONNECTION_LOST', failed: true, canResume: true }
  }
  return { ...base, ...known('detached'), code: 'ERR_SESSION_DETACHED', canResume: true }
}

/** Why a desktop did not come up. */
export async function failureOf(
  rap: RapClient,
  session: Session | undefined,
  error: unknown,
  reached: boolean,
): Promise<Ending> {
  const isIron = typeof (error as { kind?: unknown } | undefined)?.kind === 'function'
  const explained = explain(error)
  const base = { failed: true, canResume: false, sessionId: session?.id, resourceId: session?.record.resource_id }
  if (session === undefined || !isIron) return { ...base, ...explained }
  const record = await rap.sessions.get(session.id).catch(() => undefined)
  if (record?.failure !== undefined && record.failure !== null) return wordsOf(record, session)
  return {
    ...base,
    title: reached ? 'Connection lost' : 'The desktop could not be shown',
    detail: `The RDP client stopped (${describeIronError(error)}).`,
    remedy: 'Try again; if it happens again, tell your administrator the code below.',
    code: 'ERR_RDP_CLIENT',
    canResume: true,
  }
}

const known = (name: string): Pick<Ending, 'title' | 'detail'> => ENDINGS[name] ?? { title: 'Disconnected', detail: '' }
