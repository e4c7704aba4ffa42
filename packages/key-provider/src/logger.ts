/** The part of pino's Logger that key sources write to. */
export interface SourceLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}
