import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startProcess, tempDir } from '@rap/testkit'
import t, { type Test } from 'tap'
import { leakingOptions } from '../src/harden-process.ts'

const FIXTURE = fileURLToPath(new URL('fixtures/hardened.ts', import.meta.url))
const SERVICE = fileURLToPath(new URL('fixtures/production.ts', import.meta.url))
const linux = process.platform === 'linux' ? {} : { skip: 'core files are closed on Linux alone' }

async function start(t: Test, args: readonly string[], { cwd = '', shell = '' } = {}) {
  const command = `${shell} exec "$0" "$@"`
  const running = await startProcess({
    command: '/bin/sh',
    args: ['-c', command, process.execPath, FIXTURE, ...args],
    ...(cwd !== '' && { cwd }),
  })
  t.teardown(() => running.stop())
  await running.waitForOutput(/^up/m, 30_000)
  return running
}

/** Crashes a process for real; undefined where this machine writes no core files into the folder of the process. */
async function coreOf(t: Test, mode: string, canary: string): Promise<Buffer | undefined> {
  const dir = tempDir('rap-core-')
  t.teardown(() => dir.remove())
  // Only root may raise a limit that somebody has lowered to nothing.
  const running = await start(t, [mode, canary, 'crash'], { cwd: dir.path, shell: 'ulimit -c unlimited 2>/dev/null;' })
  await running.exited
  const [file] = readdirSync(dir.path).filter(name => name.startsWith('core'))
  return file === undefined ? undefined : readFileSync(join(dir.path, file))
}

t.test('a core file of a hardened process holds nothing of its memory', linux, async t => {
  const canary = `canary${randomBytes(12).toString('hex')}`
  const open = await coreOf(t, 'plain', canary)
  if (open === undefined) {
    t.comment('this machine writes no core files here; the filter alone is looked at')
  } else {
    t.ok(open.includes(`${canary}-in-a-buffer`), 'a process that is not hardened leaves it there')
    const closed = await coreOf(t, 'hardened', canary)
    t.ok(closed !== undefined && closed.length > 0, 'there is a core file of the hardened one too')
    // In its two-byte form as well: that is how V8 keeps some strings.
    for (const form of [Buffer.from(canary), Buffer.from(canary, 'utf16le')]) t.notOk(closed?.includes(form))
  }
  const running = await start(t, ['hardened', canary, 'run'])
  t.match(running.log(), /up true/)
  t.equal(Number.parseInt(readFileSync(`/proc/${running.pid}/coredump_filter`, 'latin1'), 16), 0)
})

t.test('SIGUSR1 opens no inspector', linux, async t => {
  const hardened = await start(t, ['hardened', 'x', 'run'])
  hardened.kill('SIGUSR1')
  const before = hardened.log().length
  await hardened.waitForOutput(new RegExp(`[\\s\\S]{${before}}[\\s\\S]*(inspector .*\\s+){6}`), 30_000)
  t.notMatch(hardened.log(), /inspector ws:|Debugger listening/)
  t.ok(hardened.isRunning(), 'and ends nothing')
})

t.test('what lets memory or connections out is named, however it is written', async t => {
  const cases: [string[], Record<string, string>, string[]][] = [
    [[], {}, []],
    [['--enable-source-maps', '--cpu-prof'], { NODE_OPTIONS: '--max-old-space-size=512' }, []],
    [['--inspect'], {}, ['--inspect']],
    [['--inspect-brk=127.0.0.1:0'], {}, ['--inspect']],
    [['--inspect_wait'], {}, ['--inspect']],
    [['--heapsnapshot-signal=SIGUSR2'], {}, ['--heapsnapshot-signal']],
    [[], { NODE_OPTIONS: '--no-warnings --inspect=0.0.0.0:9229' }, ['--inspect']],
    [[], { NODE_OPTIONS: '"--heapsnapshot_signal=SIGUSR2"' }, ['--heapsnapshot-signal']],
    [['--heapsnapshot-near-heap-limit=1'], {}, ['--heapsnapshot-near-heap-limit']],
    [['--tls-keylog=/tmp/keys'], {}, ['--tls-keylog']],
    [['--trace-tls'], {}, ['--trace-tls']],
    [[], { NODE_DEBUG: 'tls', NODE_TLS_REJECT_UNAUTHORIZED: '0' }, ['NODE_DEBUG', 'NODE_TLS_REJECT_UNAUTHORIZED']],
  ]
  for (const [execArgv, env, names] of cases) {
    t.strictSame(
      leakingOptions(execArgv, env),
      names.map(name => `${name}: is not allowed in production`),
    )
  }
})

t.test('a service does not start with such an option in production, and does elsewhere', async t => {
  const run = async (args: string[], env: Record<string, string>) => {
    const service = await startProcess({ command: process.execPath, args: [...args, SERVICE], env })
    t.teardown(() => service.stop())
    return service
  }
  for (const [args, env, line] of [
    [['--inspect=127.0.0.1:0'], {}, /^fixture: --inspect: is not allowed in production$/m],
    [[], { NODE_OPTIONS: '--heapsnapshot-signal=SIGUSR2' }, /^fixture: --heapsnapshot-signal: is not allowed/m],
    [[], { NODE_DEBUG: 'secret-value' }, /^fixture: NODE_DEBUG: is not allowed/m],
  ] as const) {
    for (const APP_ENV of ['production', 'prod']) {
      const service = await run([...args], { ...env, APP_ENV })
      t.same(await service.exited, { code: 78, signal: null })
      t.match(service.log(), line)
      t.notMatch(service.log(), /secret-value|service_ready/)
    }
  }
  const debugged = await run(['--inspect=127.0.0.1:0'], { APP_ENV: 'development' })
  await debugged.waitForOutput(/service_ready/, 30_000)
  const plain = await run([], { APP_ENV: 'production', NODE_OPTIONS: '--report-on-signal --report-uncaught-exception' })
  await plain.waitForOutput(/service_ready/, 30_000)
  t.match(plain.log(), /"reports":0,"umask":63/, 'reports were switched off, and files are for the owner')
})
