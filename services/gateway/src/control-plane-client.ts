import { InternalClient, internalAgent, type Logger, type PlatformIdentity } from '@rap/service-kit'
import type { Config } from './config.ts'

/** Largest answer, in bytes: a directory of as many workers as the control plane lets there be. */
const MAX_RESPONSE_BYTES = 16 * 1024 * 1024

/** Mutual TLS to the control plane's internal listener, as this service. */
export function controlPlaneClient(
  config: Config,
  identity: PlatformIdentity,
  logger: Logger,
  onShutdown: (name: string, close: () => unknown) => void,
): InternalClient {
  const agent = internalAgent({
    ...identity.material,
    trustDomain: config.RAP_TRUST_DOMAIN,
    expectedIdentity: 'service/control-plane',
  })
  identity.onChange(material => agent.setTls(material))
  onShutdown('control plane client', () => agent.close())
  const { CONTROL_PLANE_INTERNAL_URL: baseUrl } = config
  return new InternalClient({ baseUrl, agent, logger, timeoutMs: 5000, maxResponseBytes: MAX_RESPONSE_BYTES })
}
