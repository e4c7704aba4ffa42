import AjvCompiler from '@fastify/ajv-compiler'
import type { FastifySchemaValidationError } from 'fastify'
import type { JsonValue } from './errors.ts'

/** The package's types describe its JTD mode; this is the JSON Schema half of it. */
type CompilerFactory = (
  externalSchemas: unknown,
  options: { customOptions: Record<string, unknown> },
) => (route: unknown) => unknown

const COMMON_AJV_OPTIONS = {
  removeAdditional: false,
  useDefaults: true,
  // One error is enough for an answer, and it bounds the work that a hostile body can cause.
  allErrors: false,
  allowUnionTypes: true,
  strictTypes: false,
  keywords: ['example'],
} as const

type JsonSchema = Record<string, unknown>

function isRecord(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Keywords whose values are schemas under free names. */
const SCHEMA_MAPS = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas'])

/**
 * A copy of `schema` in which every object that names its fields refuses other names, unless it says otherwise itself.
 * Parts of an `allOf` stay open, since each part sees the properties of the others.
 */
export function closeObjects(schema: unknown, inAllOf = false): unknown {
  if (Array.isArray(schema)) return schema.map(part => closeObjects(part))
  if (!isRecord(schema)) return schema
  const closed: JsonSchema = {}
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'allOf' && Array.isArray(value)) closed[key] = value.map(part => closeObjects(part, true))
    // Defaults, constants and examples are data, even when they look like schemas.
    else if (key === 'default' || key === 'const' || key === 'enum' || key === 'example' || key === 'examples') {
      closed[key] = value
    } else if (SCHEMA_MAPS.has(key) && isRecord(value)) {
      closed[key] = Object.fromEntries(Object.entries(value).map(([name, part]) => [name, closeObjects(part)]))
    } else closed[key] = closeObjects(value)
  }
  const saysItself = 'additionalProperties' in schema || 'unevaluatedProperties' in schema || 'allOf' in schema
  const namesFields = isRecord(schema.properties) || isRecord(schema.patternProperties)
  if (namesFields && !saysItself && !inAllOf) closed.additionalProperties = false
  return closed
}

/** Fastify's validator factory: bodies are taken as they are, text from URLs and headers is coerced, unknown fields are refused. */
export function buildValidator(externalSchemas: unknown): (route: AjvCompiler.RouteDefinition) => unknown {
  const factory = (AjvCompiler as unknown as () => CompilerFactory)()
  const strict = factory(externalSchemas, { customOptions: { ...COMMON_AJV_OPTIONS, coerceTypes: false } })
  const coercing = factory(externalSchemas, { customOptions: { ...COMMON_AJV_OPTIONS, coerceTypes: 'array' } })
  const compiled = new Map<string, unknown>()
  return route => {
    const isBody = route.httpPart === 'body'
    // Requests carry many headers that no schema names.
    const schema = route.httpPart === 'headers' ? route.schema : closeObjects(route.schema)
    // Many routes take the same: two thirds of the compilations of a start fall away.
    const key = `${isBody}${JSON.stringify(schema)}`
    const validate = compiled.get(key) ?? (isBody ? strict : coercing)({ ...route, schema })
    compiled.set(key, validate)
    return validate
  }
}

const MAX_FIELD_CHARACTERS = 200
const PRINTABLE_FIELD = /^[A-Za-z0-9_./~-]*$/

/** Names of fields may come from the caller, so only plain and short ones are repeated. */
function printableField(path: string): string {
  return path.length <= MAX_FIELD_CHARACTERS && PRINTABLE_FIELD.test(path) ? path : '(unprintable)'
}

/** Rules whose parameters come from our schema alone and help the caller. */
const SHOWN_PARAMETERS: Readonly<Record<string, string>> = {
  type: 'type',
  format: 'format',
  pattern: 'pattern',
  minLength: 'limit',
  maxLength: 'limit',
  minimum: 'limit',
  maximum: 'limit',
  exclusiveMinimum: 'limit',
  exclusiveMaximum: 'limit',
  minItems: 'limit',
  maxItems: 'limit',
  minProperties: 'limit',
  maxProperties: 'limit',
  enum: 'allowedValues',
}

export interface FieldProblem {
  readonly [key: string]: JsonValue
  /** `body`, `querystring`, `params` or `headers`. */
  readonly in: string
  /** JSON pointer of the failing field; empty for the whole part. */
  readonly field: string
  /** JSON Schema keyword that failed. */
  readonly rule: string
}

/** One schema violation for the answer: where, which rule and what the rule wants. INVARIANT: never the value. */
export function describeViolation(violation: FastifySchemaValidationError, part: string): FieldProblem {
  const { keyword, instancePath, params } = violation
  const extra = params.missingProperty ?? params.additionalProperty
  const path = typeof extra === 'string' ? `${instancePath}/${extra}` : instancePath
  const shown = SHOWN_PARAMETERS[keyword]
  const expected = shown === undefined ? undefined : params[shown]
  return {
    in: part,
    field: printableField(path),
    rule: keyword,
    ...(expected !== undefined && { expected: expected as JsonValue }),
  }
}
