/**
 * The session that a page shows, kept with its entry in the history of the browser: a page that is loaded again goes on with it instead of
 * starting another one beside it.
 */
const KEY = 'rap_session'

/** Keeps the session for the time after a reload; undefined: nothing is left to go on with. */
export function keepShownSession(sessionId: string | undefined): void {
  if (shown() !== sessionId) history.replaceState({ ...history.state, [KEY]: sessionId }, '')
}

/**
 * The session that this page showed before it was loaded again. A copy of the page, which some browsers make with its history, is none: it would take
 * the desktop away from the page that shows it.
 */
export function sessionBeforeReload(): string | undefined {
  const [navigation] = performance.getEntriesByType('navigation')
  const isReload = navigation instanceof PerformanceNavigationTiming && navigation.type === 'reload'
  return isReload ? shown() : undefined
}

function shown(): string | undefined {
  const kept: unknown = history.state?.[KEY]
  return typeof kept === 'string' ? kept : undefined
}
