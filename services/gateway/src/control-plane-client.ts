import { InternalClient, internalAgent, type Logger, watchTlsFiles } from '@rap/service-kit'
import type { Config } from './config.ts'

/**
 * Mutual TLS to the control plane's internal listener, as this service; undefined where it is not configured.
 * The certificate files are read again when they change.
 */
export async function controlPlaneClient(
  config: Config,
  logger: Logger,
  onShutdown: (name: string, close: () => unknown) => void,
): Promise<InternalClient | undefined> {
  const { CONTROL_PLANE_INTERNAL_URL: baseUrl, RAP_TLS_CERT_FILE: certFile, RAP_TLS_KEY_FILE: keyFile } = config
  if (baseUrl === undefined || certFile === undefined || keyFile === undefined) return undefined
  const files = { certFile, keyFile, caFile: config.RAP_PLATFORM_CA_FILE }
  const watched = await watchTlsFiles({ ...files, logger, onChange: material => agent.setTls(material) })
  onShutdown('platform certificate', watched.close)
  const { cert, key, ca = '' } = watched.material
  const agent = internalAgent({
    cert,
    key,
    ca,
    trustDomain: config.RAP_TRUST_DOMAIN,
    expectedIdentity: 'service/control-plane',
  })
  onShutdown('control plane client', () => agent.close())
  return new InternalClient({ baseUrl, agent, logger, timeoutMs: 5000 })
}
