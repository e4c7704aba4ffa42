/** The part of pino's Logger that this provider writes to. */
export interface VaultLogger {
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
}
