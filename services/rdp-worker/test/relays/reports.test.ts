import { waitFor } from '@rap/testkit'
import t, { type Test } from 'tap'
import { startDesktop } from '../desktop.ts'
import { problem } from '../peer.ts'
import { TestWorker } from '../worker.ts'

const desktop = await startDesktop(t)

/** A control plane whose database is away: it answers no report of an end. */
function awayFor(worker: TestWorker): { tries: number; isAway: boolean } {
  const state = { tries: 0, isAway: true }
  worker.controlPlane.intercept = ({ path, body }) => {
    if (!path.endsWith('/state') || body.state !== 'closed') return undefined
    state.tries++
    return state.isAway ? problem(503, 'ERR_DATABASE_UNAVAILABLE') : undefined
  }
  return state
}

/** A client has left a desktop while the control plane is away. */
async function leftWhileAway(t: Test, reportPauseMs: number) {
  const worker = await TestWorker.start(t, { times: { reportPauseMs } })
  const place = await worker.ready({ address: desktop.address })
  const { client } = await worker.bind(place)
  await client.rdp?.toActive()
  const away = awayFor(worker)
  client.socket.close(1000)
  return { worker, place, away }
}

t.test(
  'an end is told until the control plane is there again, so that a session that is to stay is not lost',
  async t => {
    const { worker, place, away } = await leftWhileAway(t, 10)
    await waitFor(() => away.tries > 20, { what: 'more tries than a start has' })
    away.isAway = false
    t.match(await worker.controlPlane.reported(place.attachment_id, 'closed'), { reason: 'client_closed' })
    const { tries } = away
    await worker.drain()
    t.equal(away.tries, tries, 'once it is taken, nobody tells it again')
  },
)

t.test('a worker that stops does not wait for a control plane that stays away', async t => {
  const { worker, away } = await leftWhileAway(t, 60_000)
  await waitFor(() => away.tries === 4, { what: 'the tries before the first long pause' })
  const beganMs = performance.now()
  await worker.drain()
  t.ok(performance.now() - beganMs < 30_000)
  t.equal(away.tries, 5, 'and tries once more')
})
