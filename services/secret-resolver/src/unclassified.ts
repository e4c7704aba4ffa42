import { commonProblems, type ProblemError } from '@rap/service-kit'

/** What an error is called; longer names and codes are no names and codes. */
const NAME = /^[A-Za-z0-9_.-]{1,64}$/

/**
 * An error that nobody has classified, as ERR_INTERNAL without its words: a library, or a key provider, may have put into
 * its message what it was working on. What is kept is where it was thrown, its name and its code.
 * Undefined for what the framework refuses by itself (4xx), which `buildServer` classifies.
 */
export function problemOfUnclassified(error: unknown): ProblemError | undefined {
  const { statusCode, validation } = (error ?? {}) as { statusCode?: unknown; validation?: unknown }
  if (validation !== undefined || (typeof statusCode === 'number' && statusCode < 500)) return undefined
  return commonProblems.ERR_INTERNAL({ cause: withoutWords(error) })
}

function withoutWords(error: unknown): Error {
  const bare = new Error('its message is not logged')
  if (!(error instanceof Error)) return Object.assign(bare, { stack: undefined })
  const { name, code } = error as Error & { code?: unknown }
  bare.name = NAME.test(name) ? name : 'Error'
  bare.stack = `${bare.name}: ${bare.message}${framesOf(error)}`
  return typeof code === 'string' && NAME.test(code) ? Object.assign(bare, { code }) : bare
}

/** V8 writes name and message, and then one line for each frame; a stack of another form is not trusted. */
function framesOf({ stack, message }: Error): string {
  const at = stack?.indexOf(message) ?? -1
  const frames = at < 0 ? '' : (stack as string).slice(at + message.length)
  return /^(\n {4}at .*)*$/.test(frames) ? frames : ''
}
