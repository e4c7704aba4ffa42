export { WireError, type WireErrorCode, type WireErrorFacts } from './errors.ts'
export { RdpRelay } from './relay/relay.ts'
export type {
  RelayChannel,
  RelayCredentials,
  RelayDirection,
  RelayEvent,
  RelayOptions,
  RelayPhase,
  RelayPolicy,
  RelaySink,
  RenderQualityProfile,
} from './relay/types.ts'
