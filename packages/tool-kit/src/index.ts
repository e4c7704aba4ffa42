export { type Failure, failureOf, failureText, type KnownFailures } from './failure.ts'
export { durationText, Output, type Progress, type ProgressState, table } from './output.ts'
