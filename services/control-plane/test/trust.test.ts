import t from 'tap'
import { startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()

t.test('the trust bundle is served by name and version', async t => {
  const { status, body } = await instance.call(undefined, 'GET', '/v1/trust-bundle')
  t.equal(status, 200)
  t.match(body, { ref: 'rap-platform-ca:v1', format: 'pem', certificates: /BEGIN CERTIFICATE/ })
})
