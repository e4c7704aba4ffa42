import t from 'tap'
import { smoke } from './smoke/platform-ca-direct-wss.ts'

t.test('production trust of direct worker WSS holds on a platform that enrolled by itself', async t => {
  const { rows } = await smoke()
  for (const { claim, held, detail } of rows) t.ok(held, `${claim}: ${detail}`)
  t.ok(rows.length >= 14)
})
