import { type RapClient, RapPathError, type RdCleanPathTarget, type Session, type Trace } from '@rap/client-sdk'
import { DesktopClipboard } from './clipboard/desktop-clipboard.ts'
import { RemoteClipboard } from './clipboard/remote-clipboard.ts'
import type { Ending } from './ending.ts'
import { endingOf, failureOf } from './endings.ts'
import { type IronDesktop, type Size, showDesktop } from './iron.ts'
import { clipboardRulesOf } from './policy/live-policy.ts'
import { SideConnection } from './side-connection.ts'

/** What the page shows of a desktop; one value at a time, so that no two parts of the page can disagree. */
export type DesktopState =
  | { readonly step: 'starting' | 'connecting'; readonly session?: Session }
  | {
      readonly step: 'connected'
      readonly session: Session
      readonly path: RdCleanPathTarget
      readonly desktop: IronDesktop
      /** Undefined where the desktop came up without one, since no text may go either way. */
      readonly clipboard: DesktopClipboard | undefined
      readonly side: SideConnection
    }
  | { readonly step: 'ended'; readonly ending: Ending }

/** What to open: a new session on a resource, or one that lives already. */
export type DesktopTarget = { readonly resourceId: string } | { readonly sessionId: string; readonly takeover: boolean }

/** How often the page asks whether the session of a desktop that is up is over, in milliseconds. */
const LOOK_MS = 10_000

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
    const rules = clipboardRulesOf(opened.attachment)
    const remote = rules.toDesktop || rules.fromDesktop ? new RemoteClipboard() : undefined
    const clipboard = remote && new DesktopClipboard(remote, rules)
    const desktop = await showDesktop(host, path, { size, clipboard: remote })
    reached = true
    signal.addEventListener('abort', () => desktop.close(), { once: true })
    if (signal.aborted) {
      desktop.close()
      return
    }
    const following = new AbortController()
    const followed = AbortSignal.any([following.signal, signal])
    const side = new SideConnection(opened, { path: path.path, signal: followed })
    show({ step: 'connected', session: opened, path, desktop, clipboard, side })
    clipboard?.follow(host, followed)
    void side.open()
    const over = sessionOver(opened, followed).then(() => true)
    // A worker that keeps the connection answers no shutdown either, so nobody waits for it.
    const isOver = await Promise.race([desktop.ended.then(() => false), over])
    if (isOver && !signal.aborted) desktop.close()
    const ending = await endingOf(rap, opened, side.reason)
    following.abort()
    end(ending)
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
