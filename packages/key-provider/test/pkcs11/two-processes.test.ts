import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { startProcess } from '@rap/testkit'
import t from 'tap'
import { keyOf } from '../support/key-of.ts'
import { create, openSource, optionsOf, softHsm } from './hsm.ts'

const other = fileURLToPath(new URL('./other-process.ts', import.meta.url))

t.test('two processes use one token at the same time, and open what the other one wrapped', async t => {
  const hsm = await softHsm(t)
  const token = await hsm.addToken('shared')
  const options = optionsOf(hsm, token)
  const source = await openSource(t, options)
  await create(source)
  const key = keyOf(source)
  const wrapped = await key.wrap(randomBytes(32), Buffer.from('row 0'))

  const child = await startProcess({
    command: process.execPath,
    args: [other, JSON.stringify(options), wrapped.toString('hex')],
    env: hsm.env,
  })
  t.teardown(() => child.stop())
  let rounds = 0
  while (child.isRunning() || rounds < 50) {
    const dataKey = randomBytes(32)
    const opened = await key.unwrap(await key.wrap(dataKey, Buffer.from('here')), Buffer.from('here'))
    if (!opened.equals(dataKey)) t.fail(`round ${rounds} came out wrong`)
    rounds += 1
  }
  if ((await child.exited).code !== 0) t.fail(`the other process: ${child.log()}`)
  const theirs = child.log().trim().split('\n')
  t.equal(theirs.length, 100)
  for (const [at, line] of theirs.entries()) {
    t.equal((await key.unwrap(Buffer.from(line, 'hex'), Buffer.from(`row ${at}`))).length, 32)
  }
})

t.test(
  'of two processes that create one key at the same time, at most one succeeds and no key is there twice',
  async t => {
    const hsm = await softHsm(t)
    const token = await hsm.addToken('race')
    const options = optionsOf(hsm, token)
    const start = () =>
      startProcess({ command: process.execPath, args: [other, JSON.stringify(options)], env: hsm.env })
    const children = [await start(), await start(), await start()]
    const exits = await Promise.all(children.map(child => child.exited))
    const made = exits.filter(({ code }) => code === 0).length
    t.ok(made <= 1, `${made} made it`)
    for (const child of children) t.match(child.log(), /created|ERR_KEY_EXISTS/)
    const listed = await hsm.tool(token, '--list-objects', '--type', 'secrkey')
    t.equal(listed.match(/AES length/g)?.length ?? 0, made)
  },
)
