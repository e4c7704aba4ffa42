import {
  type RapClient,
  RapPathError,
  type RdCleanPathTarget,
  type Session,
  type SessionWithAttachment,
  type Trace,
} from '@rap/client-sdk'
import { type Explanation, explain } from '../auth/auth.tsx'
import { describeIronError, type IronDesktop, type Size, showDesktop } from './iron.ts'

/** What the page shows of a desktop; one value at a time, so that no two parts of the page can disagree. */
export type DesktopState =
  | { readonly step: 'starting' | 'connecting'; readonly session?: Session }
  | {
      readonly step: 'connected'
      readonly session: Session
      readonly path: RdCleanPathTarget
      readonly desktop: IronDesktop
    }
  | { readonly step: 'ended'; readonly ending: Ending }

/** How a desktop ended, in words; `canResume` where the session still lives on the target. */
export interface Ending extends Omit<Explanation, 'code'> {
  readonly code: string
  readonly failed: boolean
  readonly canResume: boolean
  readonly sessionId?: string | undefined
  /** How a way was looked for; undefined where it did not come to that. */
  readonly trace?: Trace | undefined
}

/** What to open: a new session on a resource, or one that lives already. */
export type DesktopTarget = { readonly resourceId: string } | { readonly sessionId: string; readonly takeover: boolean }

/** How often the page asks whether the session of a desktop that is up is over, in milliseconds. */
const LOOK_MS = 10_000

const ENDINGS: Readonly<Record<string, Pick<Ending, 'title' | 'detail'>>> = {
  detached: { title: 'Disconnected', detail: 'The desktop keeps running. Resume to go on where you left it.' },
  terminated: { title: 'Session ended', detail: 'This session was ended.' },
  elsewhere: { title: 'Opened somewhere else', detail: 'This session was taken over by another connection of yours.' },
  lost: { title: 'Connection lost', detail: 'The desktop keeps running. Resume to go on where you left it.' },
}

/** Opens a desktop inside `host` and tells each step to `show`, until it ends or `signal` is aborted. */
export async function openDesktop(
  rap: RapClient,
  target: DesktopTarget,
  options: { readonly host: HTMLElement; readonly signal: AbortSignal; readonly show: (state: DesktopState) => void },
): Promise<void> {
  const { host, signal } = options
  const show = (state: DesktopState): void => {
    if (!signal.aborted) options.show(state)
  }
  const size = sizeOf(host)
  let session: Session | undefined
  let reached = false
  let trace: Trace | undefined
  const end = (ending: Ending) => show({ step: 'ended', ending: { ...ending, trace } })
  try {
    show({ step: 'starting' })
    session =
      'resourceId' in target
        ? await rap.sessions.start({ resourceId: target.resourceId, display: size })
        : await rap.sessions.attach(target.sessionId, { takeover: target.takeover, display: size })
    const opened = session
    // A page that was left before its session was ready leaves no session behind.
    if (signal.aborted) {
      await opened.detach()
      return
    }
    show({ step: 'connecting', session: opened })
    const path = await opened.rdCleanPath()
    trace = path.trace
    const desktop = await showDesktop(host, path, size)
    reached = true
    signal.addEventListener('abort', () => desktop.ui.shutdown(), { once: true })
    if (signal.aborted) {
      desktop.ui.shutdown()
      return
    }
    show({ step: 'connected', session: opened, path, desktop })
    const following = new AbortController()
    const over = sessionOver(opened, AbortSignal.any([following.signal, signal])).then(() => true)
    // A worker that keeps the connection answers no shutdown either, so nobody waits for it.
    const isOver = await Promise.race([desktop.ended.then(() => false), over])
    following.abort()
    if (isOver && !signal.aborted) desktop.ui.shutdown()
    end(await endingOf(rap, opened))
  } catch (error) {
    if (error instanceof RapPathError) trace = error.trace
    end(await failureOf(rap, session, error, reached))
  }
}

/**
 * Resolves when the control plane says that the session is over, or with `signal`. A worker that was revoked because it turned
 * bad may keep its connection; the page does not. It asks instead of following events: a browser has six connections to one
 * origin, and a stream for each desktop would take them all.
 */
async function sessionOver(session: Session, signal: AbortSignal): Promise<void> {
  for (;;) {
    await paused(LOOK_MS, signal)
    if (signal.aborted) return
    const record = await session.refresh().catch(() => undefined)
    if (record?.state === 'failed' || record?.state === 'terminated') return
  }
}

async function paused(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>(resolve => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => resolve(clearTimeout(timer)), { once: true })
  })
}

/** The size to ask for: what the page has, in even pixels (MS-RDPEDISP 2.2.2.2.1 wants an even width), within its bounds. */
export function sizeOf(host: HTMLElement): Size {
  const within = (value: number): number => Math.min(8192, Math.max(200, Math.floor(value)))
  const width = within(host.clientWidth)
  return { width: width - (width % 2), height: within(host.clientHeight) }
}

async function endingOf(rap: RapClient, session: Session): Promise<Ending> {
  const record = await rap.sessions.get(session.id).catch(() => undefined)
  return wordsOf(record, session)
}

function wordsOf(record: SessionWithAttachment | undefined, session: Session): Ending {
  const base = { failed: false, canResume: false, sessionId: session.id }
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

async function failureOf(
  rap: RapClient,
  session: Session | undefined,
  error: unknown,
  reached: boolean,
): Promise<Ending> {
  const isIron = typeof (error as { kind?: unknown } | undefined)?.kind === 'function'
  const explained = explain(error)
  const base = { failed: true, canResume: false, sessionId: session?.id }
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
