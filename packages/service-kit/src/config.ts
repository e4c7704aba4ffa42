import { type Static, type TObject, type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Secret } from './secret.ts'

/** One wrong environment variable. `message` never holds the value of a variable that is marked secret. */
export interface ConfigIssue {
  readonly variable: string
  readonly message: string
}

/** The environment does not fit the schema; `issues` has one entry for each wrong variable. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly code = 'ERR_CONFIG_INVALID'
  readonly issues: readonly ConfigIssue[]

  constructor(issues: readonly ConfigIssue[]) {
    super(issues.map(issue => `${issue.variable}: ${issue.message}`).join('\n'))
    this.issues = issues
  }
}

export type AppEnv = 'development' | 'smoke' | 'test' | 'production' | 'prod'

/** Both spellings of production count; whatever is not named as something else is not production only by its own words. */
export function isProduction(appEnv: AppEnv): boolean {
  return appEnv === 'production' || appEnv === 'prod'
}

interface FieldOptions<T> {
  /** One sentence for the generated configuration page. */
  description: string
  default?: T
  example?: string
}

interface UrlOptions extends FieldOptions<string> {
  /** Allowed protocols with their colon; `['https:']` when absent. */
  protocols?: readonly string[]
  /** The URL holds a credential (a database URL): its value is never echoed. */
  secret?: boolean
}

interface NumberOptions extends FieldOptions<number> {
  min: number
  max: number
  /** Unit for the generated page, for example `seconds`. */
  unit?: string
}

interface TextOptions extends FieldOptions<string> {
  minLength?: number
  maxLength?: number
  pattern?: string
  secret?: boolean
}

interface ListOptions extends FieldOptions<string[]> {
  /** Pattern that each item must match. */
  itemPattern?: string
  minItems?: number
  maxItems?: number
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
const APP_ENVS = ['development', 'smoke', 'test', 'production', 'prod'] as const

function oneOf<const T extends readonly string[]>(values: T, options: FieldOptions<T[number]>) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: [...values], ...options, kind: 'enum' })
}

/** Schemas for the common kinds of environment variables. An empty variable counts as one that is not set. */
export const Env = {
  /** TCP port; 0 asks the system for a free one. */
  port: (options: FieldOptions<number>) => Type.Integer({ minimum: 0, maximum: 65535, ...options, kind: 'port' }),
  url: ({ protocols = ['https:'], ...options }: UrlOptions) => Type.String({ ...options, protocols, kind: 'url' }),
  /** Path of a file or directory; it is not opened here. */
  path: (options: FieldOptions<string>) => Type.String({ minLength: 1, maxLength: 4096, ...options, kind: 'path' }),
  /** `true`, `false`, `1` or `0`. */
  boolean: (options: FieldOptions<boolean>) => Type.Boolean({ ...options, kind: 'boolean' }),
  integer: ({ min, max, ...options }: NumberOptions) =>
    Type.Integer({ minimum: min, maximum: max, ...options, kind: 'integer' }),
  string: ({ secret = false, ...options }: TextOptions) =>
    Type.String({ minLength: 1, maxLength: 4096, ...options, ...(secret && { secret }), kind: 'string' }),
  /** The value becomes a `Secret`; it has no default and is never echoed. */
  secret: (options: { description: string; maxLength?: number }) =>
    Type.Unsafe<Secret>({ type: 'string', minLength: 1, maxLength: 65536, ...options, secret: true, kind: 'secret' }),
  /** Comma-separated values; white space around an item is dropped. */
  list: ({ itemPattern, ...options }: ListOptions) =>
    Type.Array(Type.String({ minLength: 1, maxLength: 1024, ...(itemPattern && { pattern: itemPattern }) }), {
      maxItems: 100,
      ...options,
      kind: 'list',
    }),
  oneOf,
  /** An environment that says nothing is treated as production. */
  appEnv: () =>
    oneOf(APP_ENVS, {
      description: 'Kind of deployment; production rules are in force unless this says otherwise',
      default: 'production',
    }),
  logLevel: () => oneOf(LOG_LEVELS, { description: 'Lowest level that is logged', default: 'info' }),
} as const

export interface LoadConfigOptions<T extends TObject> {
  /** Rules between variables: call `problem` once for each rule that is broken. */
  check?: (config: Static<T>, problem: (variable: string, message: string) => void) => void
  /** Receives one line for each variable that looks owned by RAP but is unknown to the schema. */
  onWarning?: (message: string) => void
  /** Prefixes of variables that belong to RAP. */
  ownedPrefixes?: readonly string[]
}

const MAX_ECHOED_CHARACTERS = 60

function echo(schema: TSchema, text: string): string {
  if (schema.secret === true) return ''
  const shown = text.length > MAX_ECHOED_CHARACTERS ? `${text.slice(0, MAX_ECHOED_CHARACTERS)}…` : text
  return `, got ${JSON.stringify(shown)}`
}

function ruleOf(schema: TSchema): string {
  if (Array.isArray(schema.enum)) return `must be one of ${schema.enum.join(', ')}`
  switch (schema.kind) {
    case 'url':
      return `must be a URL that starts with ${(schema.protocols as string[]).map(name => `${name}//`).join(' or ')}`
    case 'boolean':
      return 'must be true or false'
    case 'path':
      return `must be a path of ${schema.minLength} to ${schema.maxLength} characters`
    case 'list':
      return `must be a list of ${schema.minItems ?? 0} to ${schema.maxItems} values, separated by commas${
        schema.items?.pattern === undefined ? '' : `, each matching ${schema.items.pattern}`
      }`
  }
  if (schema.type === 'integer' || schema.type === 'number') {
    return `must be ${schema.type === 'integer' ? 'a whole number' : 'a number'} from ${schema.minimum ?? '-∞'} to ${schema.maximum ?? '∞'}`
  }
  if (typeof schema.pattern === 'string') return `must match ${schema.pattern}`
  return `must be text of ${schema.minLength ?? 0} to ${schema.maxLength ?? '∞'} characters`
}

function isAllowedUrl(text: string, protocols: readonly string[]): boolean {
  return URL.canParse(text) && protocols.includes(new URL(text).protocol)
}

/** Text of one variable to its value; `undefined` when the text is not of the kind that the schema asks for. */
function parseField(schema: TSchema, text: string): unknown {
  if (schema.kind === 'list' || schema.type === 'array') {
    return text
      .split(',')
      .map(item => item.trim())
      .filter(item => item !== '')
  }
  if (schema.kind === 'url') return isAllowedUrl(text, schema.protocols) ? text : undefined
  if (schema.type === 'boolean') {
    return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : undefined
  }
  if (schema.type === 'integer') return /^-?\d{1,15}$/.test(text) ? Number(text) : undefined
  if (schema.type === 'number') return /^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : undefined
  return text
}

/** Plain JSON Schema rules of `Type.Unsafe` fields, which TypeBox itself does not check. */
function fits(schema: TSchema, value: unknown): boolean {
  if (Array.isArray(schema.enum)) return schema.enum.includes(value)
  if (schema.kind === 'secret') {
    return typeof value === 'string' && value.length >= schema.minLength && value.length <= schema.maxLength
  }
  return Value.Check(schema, value)
}

function freezeDeep(value: unknown): void {
  if (typeof value !== 'object' || value === null || value instanceof Secret || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const inner of Object.values(value)) freezeDeep(inner)
}

/**
 * Reads the environment into a frozen config.
 *
 * Keys of `schema` are the names of the variables. Throws ConfigError with one line for each wrong variable; the rules
 * of `options.check` are asked only when every variable is right by itself.
 */
export function loadConfig<T extends TObject>(
  schema: T,
  env: Readonly<Record<string, string | undefined>>,
  options: LoadConfigOptions<T> = {},
): Readonly<Static<T>> {
  const issues: ConfigIssue[] = []
  // The keys come from our own schema, but a null prototype keeps `__proto__` from being anything but a name.
  const config: Record<string, unknown> = Object.create(null)
  const required = new Set(schema.required ?? [])
  for (const [variable, field] of Object.entries(schema.properties)) {
    const text = env[variable]
    if (text === undefined || text === '') {
      if (field.default !== undefined) config[variable] = structuredClone(field.default)
      else if (required.has(variable)) issues.push({ variable, message: `is required: ${field.description ?? ''}` })
      continue
    }
    const value = parseField(field, text)
    if (value === undefined || !fits(field, value)) {
      issues.push({ variable, message: `${ruleOf(field)}${echo(field, text)}` })
    } else config[variable] = field.kind === 'secret' ? Secret.from(value as string) : value
  }
  warnAboutUnknown(schema, env, options)
  if (issues.length === 0) {
    options.check?.(config as Static<T>, (variable, message) => issues.push({ variable, message }))
  }
  if (issues.length > 0) throw new ConfigError(issues)
  freezeDeep(config)
  return config as Static<T>
}

function warnAboutUnknown<T extends TObject>(
  schema: T,
  env: Readonly<Record<string, string | undefined>>,
  { onWarning, ownedPrefixes = ['RAP_'] }: LoadConfigOptions<T>,
): void {
  if (onWarning === undefined) return
  for (const variable of Object.keys(env)) {
    if (variable in schema.properties) continue
    if (ownedPrefixes.some(prefix => variable.startsWith(prefix)))
      onWarning(`${variable}: is not known and has no effect`)
  }
}

/** Names of the variables whose values are secret, so that a service can take them out of `process.env` after the start. */
export function secretVariables(schema: TObject): string[] {
  return Object.entries(schema.properties).flatMap(([name, field]) => (field.secret === true ? [name] : []))
}

export interface ConfigRow {
  readonly variable: string
  readonly kind: string
  /** The rule in words, as in error messages, without the leading "must". */
  readonly rule: string
  readonly required: boolean
  readonly default: string | undefined
  readonly secret: boolean
  readonly description: string
  readonly example: string | undefined
}

/** Rows of the generated configuration page, in the order of the schema. */
export function describeConfig(schema: TObject): ConfigRow[] {
  const required = new Set(schema.required ?? [])
  return Object.entries(schema.properties).map(([variable, field]) => ({
    variable,
    kind: String(field.kind ?? field.type ?? 'string'),
    rule: ruleOf(field).replace(/^must (be )?/, '') + (field.unit === undefined ? '' : ` (${field.unit})`),
    required: required.has(variable) && field.default === undefined,
    default: field.default === undefined ? undefined : [field.default].flat().join(','),
    secret: field.secret === true,
    description: String(field.description ?? ''),
    example: field.example,
  }))
}
