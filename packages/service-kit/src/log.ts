import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'
import { CLASSIFIED_SUFFIX, COMMON_LOG_FIELDS, CREDENTIAL_NAME } from './log-fields.ts'
import { printableFacts, serializeError, serializeReply, serializeRequest } from './log-serializers.ts'
import { REDACTED, scrubText } from './scrub.ts'

export type { Logger } from 'pino'

export interface LoggerSettings {
  service: string
  level?: string
  /** Field names of this service that may be printed, beside the common ones. */
  fields?: readonly string[]
  /** Where lines go; standard output when absent. */
  destination?: DestinationStream
}

const MAX_DEPTH = 4
const MAX_TEXT_CHARACTERS = 2048
const MAX_ITEMS = 64
/** These keys have their own serializer, which picks fields by name. */
const SERIALIZED_KEYS = new Set(['err', 'req', 'res'])

type Classifier = (key: string) => boolean

function classifierOf(fields: readonly string[]): Classifier {
  const allowed = new Set([...COMMON_LOG_FIELDS, ...fields])
  return key => allowed.has(key) || (CLASSIFIED_SUFFIX.test(key) && !CREDENTIAL_NAME.test(key))
}

function printable(value: unknown, isClassified: Classifier, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      return value.length <= MAX_TEXT_CHARACTERS ? value : `${value.slice(0, MAX_TEXT_CHARACTERS)}…`
    case 'number':
    case 'boolean':
      return value
    case 'bigint':
      return value.toString()
    case 'object':
      break
    default:
      return undefined
  }
  if (value === null) return null
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof Error) return serializeError(value)
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return REDACTED
  if (depth >= MAX_DEPTH) return REDACTED
  if (Array.isArray(value)) {
    return value.slice(0, MAX_ITEMS).map(item => printable(item, isClassified, depth + 1))
  }
  // Class instances have meaning beyond their fields (Secret, sockets, clients), so only plain records are walked.
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return REDACTED
  return printableRecord(value as Record<string, unknown>, isClassified, depth + 1)
}

function printableRecord(
  record: Record<string, unknown>,
  isClassified: Classifier,
  depth: number,
): Record<string, unknown> {
  // A null prototype keeps a foreign `__proto__` key from becoming anything but a name.
  const printed: Record<string, unknown> = Object.create(null)
  let items = 0
  for (const [key, value] of Object.entries(record)) {
    if (value === undefined) continue
    if (++items > MAX_ITEMS) break
    // Facts of errors are named by the package that throws them: sizes, names and codes by its own rule.
    if (key === 'facts') printed[key] = printableFacts(value)
    else printed[key] = isClassified(key) ? printable(value, isClassified, depth) : REDACTED
  }
  return printed
}

/**
 * Makes the logger of a service.
 *
 * - Of every logged object only classified field names are printed; any other value becomes `[redacted]` (INV-5).
 * - `err`, `req` and `res` have serializers that pick fields by name: no bodies, no query values, few headers.
 * - Every finished line is scrubbed of JSON Web Tokens, PEM private keys, bearer credentials and URL passwords, whatever way they came in.
 */
export function createLogger({ service, level = 'info', fields = [], destination }: LoggerSettings): Logger {
  const isClassified = classifierOf(fields)
  const topLevel = (record: Record<string, unknown>): Record<string, unknown> => {
    const printed = printableRecord(record, isClassified, 0)
    for (const key of SERIALIZED_KEYS) if (record[key] !== undefined) printed[key] = record[key]
    return printed
  }
  const options: LoggerOptions = {
    level,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: label => ({ level: label }), log: topLevel },
    serializers: { err: serializeError, req: serializeRequest, res: serializeReply },
    hooks: { streamWrite: scrubText },
  }
  // Written before the call returns: nothing waits in memory when the process ends, and lines keep their order.
  const logger = pino(options, destination ?? pino.destination({ fd: 1, sync: true }))
  return withClassifiedBindings(logger, topLevel)
}

/** pino does not run a formatter over the bindings of children, so `child` and `setBindings` are wrapped here. */
function withClassifiedBindings(
  logger: Logger,
  classify: (record: Record<string, unknown>) => Record<string, unknown>,
): Logger {
  // Children are made with the parent as their prototype, so they inherit both wrappers.
  const { child, setBindings } = logger
  const asBindings = (bindings: object) => ({ ...classify({ ...bindings }) })
  Object.defineProperty(logger, 'child', {
    value: function (this: Logger, bindings: object, options?: object) {
      return child.call(this, asBindings(bindings), options as never)
    },
  })
  Object.defineProperty(logger, 'setBindings', {
    value: function (this: Logger, bindings: object) {
      setBindings.call(this, asBindings(bindings))
    },
  })
  return logger
}
