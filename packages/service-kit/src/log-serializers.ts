import { CREDENTIAL_NAME } from './log-fields.ts'
import { REDACTED } from './scrub.ts'

const MAX_CAUSES = 5
const MAX_MESSAGE_CHARACTERS = 2048
const MAX_STACK_CHARACTERS = 8192
const MAX_PATH_CHARACTERS = 512
const PRINTED_HEADERS = ['user-agent', 'content-type', 'content-length'] as const
/** Fields of errors from Node, Postgres and HTTP libraries that name things and hold no values. */
const ERROR_FIELDS = [
  'code',
  'status',
  'statusCode',
  'syscall',
  'errno',
  'address',
  'port',
  'severity',
  'table_name',
  'constraint_name',
  'column_name',
  'routine',
] as const

function bounded(value: unknown, limit: number): string {
  const text = String(value)
  return text.length <= limit ? text : `${text.slice(0, limit)}…`
}

function isScalar(value: unknown): value is string | number | boolean | null {
  return value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

/** Facts of an error: scalars only, bounded, and nothing under the name of a credential. */
export function printableFacts(facts: unknown): Record<string, unknown> | undefined {
  if (typeof facts !== 'object' || facts === null) return undefined
  const printed: Record<string, unknown> = Object.create(null)
  for (const [key, value] of Object.entries(facts).slice(0, 32)) {
    if (!isScalar(value)) continue
    printed[key] = CREDENTIAL_NAME.test(key)
      ? REDACTED
      : typeof value === 'string'
        ? bounded(value, MAX_PATH_CHARACTERS)
        : value
  }
  return printed
}

/** An error for the log: name, code, message, stack, facts and the chain of causes; no other field of it is read. */
export function serializeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return { name: 'NonError', message: `a value of type ${typeof error} was thrown` }
  const fields: Record<string, unknown> = {}
  const source = error as unknown as Record<string, unknown>
  for (const name of ERROR_FIELDS) {
    const value = source[name]
    if (isScalar(value)) fields[name] = typeof value === 'string' ? bounded(value, MAX_PATH_CHARACTERS) : value
  }
  const facts = printableFacts(source.facts)
  const hasCauses = depth < MAX_CAUSES
  return {
    name: error.name,
    ...fields,
    message: bounded(error.message, MAX_MESSAGE_CHARACTERS),
    stack: error.stack === undefined ? undefined : bounded(error.stack, MAX_STACK_CHARACTERS),
    ...(facts !== undefined && { facts }),
    ...(hasCauses && error.cause !== undefined && { cause: serializeError(error.cause, depth + 1) }),
    ...(hasCauses &&
      error instanceof AggregateError && {
        errors: error.errors.slice(0, MAX_CAUSES).map(inner => serializeError(inner, depth + 1)),
      }),
  }
}

/** The path without its query, and the names (not the values) of the query. */
export function describeUrl(url: string): { path: string; query_names?: string[] } {
  const mark = url.indexOf('?')
  if (mark === -1) return { path: bounded(url, MAX_PATH_CHARACTERS) }
  const names = [...new URLSearchParams(url.slice(mark + 1, mark + 2048)).keys()]
  return {
    path: bounded(url.slice(0, mark), MAX_PATH_CHARACTERS),
    query_names: names.slice(0, 16).map(name => bounded(name, 64)),
  }
}

interface RequestLike {
  method?: unknown
  url?: unknown
  ip?: unknown
  headers?: Record<string, unknown>
  socket?: { remoteAddress?: unknown; remotePort?: unknown }
}

/** A request for the log: method, path, names of query parameters, peer address and a few headers; never a value of the query or the body. */
export function serializeRequest(request: unknown): unknown {
  if (typeof request !== 'object' || request === null) return undefined
  const { method, url, ip, headers, socket } = request as RequestLike
  const printedHeaders: Record<string, string> = {}
  for (const name of PRINTED_HEADERS) {
    const value = headers?.[name]
    if (typeof value === 'string') printedHeaders[name] = bounded(value, 256)
  }
  return {
    ...(typeof method === 'string' && { method: bounded(method, 16) }),
    ...(typeof url === 'string' && describeUrl(url)),
    remote_address: typeof ip === 'string' ? ip : socket?.remoteAddress,
    remote_port: socket?.remotePort,
    headers: printedHeaders,
  }
}

/** An answer for the log: its status only. */
export function serializeReply(reply: unknown): unknown {
  if (typeof reply !== 'object' || reply === null) return undefined
  const status = (reply as { statusCode?: unknown }).statusCode
  return typeof status === 'number' ? { status } : undefined
}
