import { randomUUID } from 'node:crypto'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { RefusalReporter } from '../src/refusal-reporter.ts'
import { bindWith, signingSet, startGateway, tokenFor } from './helper.ts'

const REFUSED = { code: 'ERR_BIND_TOKEN_INVALID', finding: 'x', clientAddress: '192.0.2.1', requestId: 'request-1' }

t.test('reports are bounded in number and in those under way, and go on in the next minute', async t => {
  const state = { now: 0, outcomes: [] as string[], release: [] as (() => void)[] }
  const reporter = new RefusalReporter({
    client: { request: async () => await new Promise<never>(resolve => state.release.push(resolve as () => void)) },
    now: () => state.now,
    onOutcome: outcome => state.outcomes.push(outcome),
  })
  for (let number = 0; number < 10; number++) reporter.report(REFUSED)
  t.equal(state.release.length, 8)
  t.same(state.outcomes, ['dropped', 'dropped'])
  const finish = async () => {
    for (const release of state.release.splice(0)) release()
    await new Promise(resolve => setImmediate(resolve))
  }
  await finish()
  t.equal(state.outcomes.filter(outcome => outcome === 'sent').length, 8)
  for (let number = 8; number < 130; number++) {
    reporter.report(REFUSED)
    await finish()
  }
  t.equal(state.outcomes.filter(outcome => outcome === 'sent').length, 120)
  state.now += 60_000
  reporter.report(REFUSED)
  t.equal(state.release.length, 1)
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
    await refuse(expired)
    await refuse(forged)
    await refuse(await gateway.token(workerId))
    await waitFor(() => reports.length === 3, { what: 'reports' })
    const uuid = /^[0-9a-f-]{36}$/
    t.match(
      reports.map(({ body }) => body),
      [
        {
          event: 'data_plane_bind_refused',
          code: 'ERR_BIND_TOKEN_EXPIRED',
          attachment_id: uuid,
          client_address: '127.0.0.1',
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
