import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { startProcess, tempDir } from '@rap/testkit'
import t from 'tap'

const TOOL = join(import.meta.dirname, '../../src/cli/main.ts')
const linux = process.platform === 'linux' ? {} : { skip: 'core files are closed on Linux alone' }

t.test('while the tool holds keys, no core file and no inspector gives them away', linux, async t => {
  const folder = tempDir('rap-tool-')
  t.teardown(() => folder.remove())
  const keyFile = join(folder.path, 'key')
  writeFileSync(keyFile, `${Buffer.alloc(32, 'key').toString('base64')}\n`, { mode: 0o600 })
  // A database that takes the connection and says nothing keeps the tool where its keys are open.
  const database = createServer().listen(0, '127.0.0.1')
  t.teardown(() => database.close())
  await once(database, 'listening')
  const { port } = database.address() as AddressInfo
  const tool = await startProcess({
    command: process.execPath,
    args: [TOOL, 'keys'],
    env: {
      APP_ENV: 'test',
      DATABASE_URL: `postgres://127.0.0.1:${port}/rap`,
      SECRET_ENCRYPTION_KEY_FILE: keyFile,
      SECRET_ENCRYPTION_KEY_ID: 'key-1',
    },
  })
  t.teardown(() => tool.stop())
  const [socket] = await once(database, 'connection')
  t.equal(Number.parseInt(readFileSync(`/proc/${tool.pid}/coredump_filter`, 'utf8'), 16), 0)
  process.kill(tool.pid, 'SIGUSR1')
  socket.destroy()
  database.close()
  await tool.exited
  t.notMatch(tool.log(), /Debugger listening/)
  t.match(tool.log(), /./, 'it says that there is no database')
})
