export type { TransitFault } from './faults.ts'
export { startTransit, type TransitOptions, type TransitRequest, type TransitServer } from './start-transit.ts'
