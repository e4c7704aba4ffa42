import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { freePort, runCommand, startProcess, tempDir, waitFor } from '../src/index.ts'

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    // A zombie that nobody has collected yet answers too.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

t.test('freePort gives ports on which a server can listen, none twice', async t => {
  const ports = await Promise.all(Array.from({ length: 20 }, () => freePort()))
  t.equal(new Set(ports).size, 20)
  const server = createServer().listen(ports[0], '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  server.close()
})

t.test('freePort gives no port that another process got, whether or not a server listens there yet', async t => {
  const program = `
    import { freePort } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}
    const ports = []
    while (ports.length < 200) ports.push(await freePort())
    console.log(JSON.stringify(ports))
    setInterval(() => {}, 60_000)
  `
  const other = await startProcess({
    command: process.execPath,
    args: ['--input-type=module', '-e', program],
    readyWhen: /\]\n/,
  })
  t.teardown(() => other.stop())
  const theirs = new Set<number>(JSON.parse(other.log()))
  const ours = await Promise.all(Array.from({ length: 200 }, () => freePort()))
  t.equal(theirs.size, 200)
  t.same(
    ours.filter(port => theirs.has(port)),
    [],
  )
})

t.test('waitFor', async t => {
  t.test('returns what the condition gave, and looks again after an error', async t => {
    let looks = 0
    const value = await waitFor(
      () => {
        looks++
        if (looks === 1) throw new Error('not yet')
        return looks === 3 && 'done'
      },
      { what: 'the third look', intervalMs: 1 },
    )
    t.equal(value, 'done')
  })
  t.test('gives up after its bound, also when a look hangs', async t => {
    await t.rejects(
      waitFor(() => false, { what: 'nothing', timeoutMs: 30 }),
      { code: 'ERR_TESTKIT_TIMEOUT' },
    )
    await t.rejects(
      waitFor(() => new Promise<boolean>(() => {}), { what: 'a look', timeoutMs: 30 }),
      {
        code: 'ERR_TESTKIT_TIMEOUT',
      },
    )
  })
})

t.test('startProcess', async t => {
  t.test('is ready when the output says so, and keeps the output', async t => {
    const dir = tempDir('rap-test-')
    t.teardown(() => dir.remove())
    const logFile = join(dir.path, 'log')
    const running = await startProcess({
      command: 'sh',
      args: ['-c', 'echo up; echo "$MARK" >&2; exec sleep 60'],
      env: { MARK: 'from-env' },
      readyWhen: /up/,
      logFile,
    })
    await running.waitForOutput(/from-env/)
    t.match(await running.stop(), { signal: 'SIGTERM' })
    t.match(readFileSync(logFile, 'utf8'), /up\n/)
    t.match(readFileSync(logFile, 'utf8'), /from-env\n/)
    t.notOk(running.isRunning())
  })

  t.test('does not pass on variables of this process that are not named', async t => {
    process.env.RAP_TESTKIT_STRAY = 'stray'
    t.teardown(() => delete process.env.RAP_TESTKIT_STRAY)
    t.notMatch(await runCommand('env', []), /stray/)
  })

  t.test('says what a program wrote that ends before it is ready', async t => {
    const failing = startProcess({ command: 'sh', args: ['-c', 'echo no such thing >&2; exit 3'], readyWhen: /up/ })
    await t.rejects(failing, { code: 'ERR_TESTKIT_PROCESS_EXITED', facts: { exitCode: 3, output: 'no such thing' } })
    await t.rejects(startProcess({ command: 'rap-no-such-program' }), { code: 'ERR_TESTKIT_NOT_INSTALLED' })
  })

  t.test('stop ends children too, and a program that ignores SIGTERM', async t => {
    const running = await startProcess({
      command: 'sh',
      args: ['-c', 'trap "" TERM; sleep 60 & echo child $!; while :; do sleep 1; done'],
      readyWhen: /child \d+/,
      stopTimeoutMs: 100,
    })
    const child = Number(running.log().match(/child (\d+)/)?.[1])
    t.ok(isAlive(child))
    t.match(await running.stop(), { signal: 'SIGKILL' })
    await waitFor(() => !isAlive(child), { what: 'the child to end' })
  })

  t.test('a child that outlives its leader goes with it', async () => {
    const running = await startProcess({ command: 'sh', args: ['-c', 'sleep 60 >/dev/null 2>&1 & echo child $!'] })
    await running.exited
    const child = Number(running.log().match(/child (\d+)/)?.[1])
    await waitFor(() => !isAlive(child), { what: 'the child to end' })
  })
})

t.test('nothing is left of a test process that ends', async t => {
  const program = `
    import { startProcess, tempDir } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}
    const dir = tempDir("rap-o'dd ")
    const running = await startProcess({ command: 'sh', args: ['-c', 'sleep 60 & echo $! ready; wait'], readyWhen: /ready/ })
    console.log(JSON.stringify({ dir: dir.path, pids: [running.pid, parseInt(running.log())] }))
    if (process.argv[1] === 'throw') throw new Error('crash')
    if (process.argv[1] === 'exit') process.exit(0)
  `
  for (const end of ['exit', 'throw', 'SIGTERM', 'SIGINT', 'SIGKILL'] as const) {
    t.test(`by ${end}`, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', program, end], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      let output = ''
      child.stdout.on('data', chunk => {
        output += chunk
      })
      const ended = new Promise(resolve => child.once('exit', resolve))
      await waitFor(() => output.includes('\n'), { what: 'the program to report' })
      const { dir, pids } = JSON.parse(output) as { dir: string; pids: number[] }
      if (end.startsWith('SIG')) child.kill(end as NodeJS.Signals)
      await ended
      await waitFor(() => !existsSync(dir) && !pids.some(isAlive), { what: 'everything to be gone' })
    })
  }
})
