import { existsSync, statSync } from 'node:fs'
import t from 'tap'
import { startSoftHsm } from '../src/index.ts'

t.test('each SoftHSM has its own tokens, which go with it', async t => {
  const [one, other] = [await startSoftHsm(), await startSoftHsm()]
  t.teardown(() => other.remove())
  const token = await one.addToken('mine')
  t.equal(statSync(token.pinFile).mode & 0o777, 0o600)
  await one.tool(token, '--keygen', '--key-type', 'AES:32', '--label', 'a key', '--sensitive')
  t.match(await one.tool(token, '--list-objects'), /a key/)
  await t.rejects(other.tool(token, '--list-objects'), { code: 'ERR_TESTKIT_COMMAND_FAILED' })
  one.remove()
  t.notOk(existsSync(one.tokenDir))
})
