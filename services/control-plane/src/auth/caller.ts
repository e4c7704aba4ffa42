import type { CallerRow } from './storage.ts'

/** Where a change comes from, for the audit. */
export interface Origin {
  readonly requestId: string
  readonly clientAddress: string
}

/** A person who calls the API, and from where. */
export interface Caller extends CallerRow {
  readonly origin: Origin
}
