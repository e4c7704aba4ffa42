import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { MUTUAL_TLS_DEFAULTS } from '@rap/service-kit'
import fastify from 'fastify'

/**
 * The least that an HTTPS service with client certificates does in Node: Fastify as it comes, JSON parsed, JSON answered.
 * The TLS settings are those of our services, so that what is compared is what stands behind them.
 */
const { BARE_CERT_FILE = '', BARE_KEY_FILE = '', BARE_CA_FILE = '', BARE_ANSWER_CHARACTERS = '0' } = process.env
const app = fastify({
  https: {
    ...MUTUAL_TLS_DEFAULTS,
    cert: readFileSync(BARE_CERT_FILE),
    key: readFileSync(BARE_KEY_FILE),
    ca: readFileSync(BARE_CA_FILE),
    requestCert: true,
    rejectUnauthorized: true,
  },
})
const jwe = 'x'.repeat(Number(BARE_ANSWER_CHARACTERS))
app.post('/v1/resolve', async request => {
  const { lease_token } = request.body as { lease_token: string }
  return lease_token.length > 0 ? { jwe } : {}
})
await app.listen({ host: '127.0.0.1', port: 0 })
process.on('SIGTERM', () => process.exit())
process.stdout.write(`${JSON.stringify({ event: 'ready', port: (app.server.address() as AddressInfo).port })}\n`)
