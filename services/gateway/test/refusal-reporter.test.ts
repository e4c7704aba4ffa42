import { randomUUID } from 'node:crypto'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { bindWith, signingSet, startGateway, tokenFor } from './helper.ts'

interface Body {
  readonly code?: string
  readonly details: { readonly suppressed_count?: number }
}

/** How many refusals reports stand for. */
function standFor(reports: readonly { readonly body: Record<string, unknown> }[], code?: string): number {
  const bodies = reports
    .map(({ body }) => body as unknown as Body)
    .filter(body => code === undefined || body.code === code)
  return bodies.reduce((sum, { details }) => sum + 1 + (details.suppressed_count ?? 0), 0)
}

t.test('a flood of strangers is a few reports with its exact number, and hides nobody with a token', async t => {
  const gateway = await startGateway(t)
  const { reports } = gateway.controlPlane
  const refuse = async (token: string) => {
    const client = await gateway.connect()
    client.socket.send(bindWith(token))
    await client.closed
  }
  const workerId = randomUUID()
  const beganAtMs = performance.now()
  for (let round = 0; round < 15; round++) await Promise.all(Array.from({ length: 20 }, () => refuse('a.b.c')))
  await refuse(await gateway.token(workerId))
  await waitFor(() => standFor(reports, 'ERR_WORKER_UNREACHABLE') === 1, { what: 'the one with a token' })
  await gateway.gateway.app.close()
  t.equal(standFor(reports, 'ERR_BIND_TOKEN_INVALID'), 300)
  // Windows of ten seconds.
  const windows = 1 + Math.ceil((performance.now() - beganAtMs) / 10_000)
  t.ok(reports.length <= 1 + 5 * windows, `${reports.length} reports`)
  t.match(
    await gateway.metrics.registry.metrics(),
    /rap_gateway_refusals_total\{reason="ERR_BIND_TOKEN_INVALID",.*\} 300/,
    'the metrics count each',
  )
})

t.test('what the control plane does not take is reported when it is back', async t => {
  const gateway = await startGateway(t, { auditWindowMs: 100 })
  const { controlPlane } = gateway
  await controlPlane.stop()
  for (let number = 0; number < 20; number++) {
    const client = await gateway.connect()
    client.socket.send(bindWith('a.b.c'))
    await client.closed
  }
  t.equal(controlPlane.reports.length, 0)
  await controlPlane.listen()
  await waitFor(() => standFor(controlPlane.reports) === 20, { what: 'all refusals' })
  t.ok(controlPlane.reports.length < 20)
})

t.test(
  'a refused token is reported with the attachment where its signature says which, and never with the token',
  async t => {
    const gateway = await startGateway(t)
    const { reports } = gateway.controlPlane
    const refuse = async (token: string) => {
      const client = await gateway.connect()
      client.socket.send(bindWith(token))
      await client.closed
    }
    const workerId = randomUUID()
    const expired = await gateway.token(workerId, { ageSeconds: 120 })
    const forged = await tokenFor(await signingSet(), workerId)
    // Each is reported by itself, over whichever connection is free: in order where one waits for the other.
    for (const [index, token] of [expired, forged, await gateway.token(workerId)].entries()) {
      await refuse(token)
      await waitFor(() => reports.length === index + 1, { what: 'its report' })
    }
    const uuid = /^[0-9a-f-]{36}$/
    t.match(
      reports.map(({ body }) => body),
      [
        {
          event: 'data_plane_bind_refused',
          code: 'ERR_BIND_TOKEN_EXPIRED',
          attachment_id: uuid,
          details: { client_address: '127.0.0.1', finding: 'ERR_TOKEN_EXPIRED' },
        },
        { code: 'ERR_BIND_TOKEN_INVALID', attachment_id: undefined, details: { finding: 'ERR_TOKEN_UNKNOWN_KEY' } },
        { code: 'ERR_WORKER_UNREACHABLE', attachment_id: uuid, details: { finding: 'worker_not_in_directory' } },
      ],
    )
    for (const part of expired.split('.')) t.notMatch(JSON.stringify(reports), part)
    const silent = await gateway.connect()
    silent.socket.send('noise')
    await silent.closed
    t.equal(reports.length, 3, 'noise of strangers is not for the audit')
  },
)
