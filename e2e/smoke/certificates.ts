import type { X509Certificate } from 'node:crypto'
import { connect } from 'node:tls'

export interface Shown {
  readonly leaf: X509Certificate
  /** Whether the chain leads to one of the authorities. */
  readonly authorized: boolean
  readonly links: number
}

/** What a listener shows to a peer that holds these authorities alone. */
export async function shownBy(url: string, ca: string): Promise<Shown> {
  const { hostname, port } = new URL(url)
  return await new Promise((resolve, reject) => {
    const options = { host: hostname, port: Number(port), servername: hostname, ca, rejectUnauthorized: false }
    const socket = connect(options, () => {
      const leaf = socket.getPeerX509Certificate()
      socket.destroy()
      if (leaf === undefined) return reject(new Error('no certificate'))
      let links = 0
      for (let at: X509Certificate | undefined = leaf; at !== undefined && links < 10; at = at.issuerCertificate)
        links += 1
      resolve({ leaf, authorized: socket.authorized, links })
    })
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')))
    socket.on('error', reject)
  })
}

/** Seconds that a certificate is valid from its first to its last. */
export function lifeSeconds(leaf: X509Certificate): number {
  return (Date.parse(leaf.validTo) - Date.parse(leaf.validFrom)) / 1000
}
