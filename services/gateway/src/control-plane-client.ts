import { InternalClient, internalAgent, type Logger, type PlatformIdentity } from '@rap/service-kit'
import type { Config } from './config.ts'

/** Mutual TLS to the control plane's internal listener, as this service; undefined where it is not configured. */
export function controlPlaneClient(
  config: Config,
  identity: PlatformIdentity,
  logger: Logger,
  onShutdown: (name: string, close: () => unknown) => void,
): InternalClient | undefined {
  const { CONTROL_PLANE_INTERNAL_URL: baseUrl } = config
  if (baseUrl === undefined) return undefined
  const agent = internalAgent({
    ...identity.material,
    trustDomain: config.RAP_TRUST_DOMAIN,
    expectedIdentity: 'service/control-plane',
  })
  identity.onChange(material => agent.setTls(material))
  onShutdown('control plane client', () => agent.close())
  return new InternalClient({ baseUrl, agent, logger, timeoutMs: 5000 })
}
