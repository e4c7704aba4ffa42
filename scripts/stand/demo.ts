import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { check } from './check.ts'
import { CA_FILE, PKI_ENV_FILE, SECRETS_ENV_FILE, type Stand, startStand } from './stand.ts'
import { DEMO_DIR, resetState, takeLock } from './state.ts'
import { trust, untrust } from './trust.ts'

const option = process.argv[2]

try {
  if (option === '--reset') {
    resetState()
    console.log('The demo starts from nothing the next time.')
  } else if (option === '--trust') {
    if (!existsSync(CA_FILE)) throw new Error('there is no demo yet: start scripts/demo first')
    console.log(`Added to: ${trust(CA_FILE).join(', ')}\nRestart your browser; desktops then take the direct way.`)
  } else if (option === '--untrust') {
    console.log(`Taken out of: ${untrust().join(', ') || 'nothing, it was not there'}`)
  } else {
    await run(option === '--check')
  }
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

async function run(isCheck: boolean): Promise<void> {
  const release = takeLock()
  const started = performance.now()
  let step = 0
  let stand: Stand | undefined
  const starting = startStand(name => {
    console.error(
      `[${String(++step).padStart(2)}] ${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${name}`,
    )
  })
  const stopped = Promise.withResolvers<void>()
  let interrupted = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      interrupted = true
      stopped.resolve()
    })
  }
  try {
    stand = await starting
    if (interrupted) return
    if (isCheck) {
      const sight = await check(stand)
      console.log(JSON.stringify(sight))
      process.exitCode = sight.ok ? 0 : 1
      return
    }
    tellHow(stand)
    await stopped.promise
    console.error('\nStopping ...')
  } finally {
    await stand?.stop()
    release()
  }
}

/** The last lines are the URL and the log-in. */
function tellHow({ platform, portalUrl }: Stand): void {
  const logs = relative(process.cwd(), join(DEMO_DIR, 'logs'))
  console.log(`
RAP is running. Ctrl-C stops it; the next start goes on where this one ended. Logs: ${logs}

A desktop comes up at once, over the gateway. For the direct way to the worker, let your browser trust the demo's authority:
  scripts/demo --trust      (and scripts/demo --untrust takes it out again)

The master keys of the secrets, and a second one to rotate to:
  scripts/rap-secrets --env-file ${relative(process.cwd(), SECRETS_ENV_FILE)} keys

The platform CA, which can be rotated while a desktop is open (also in the portal, under Trust):
  scripts/rap-pki --env-file ${relative(process.cwd(), PKI_ENV_FILE)} status

Portal:   ${portalUrl}
E-mail:   ${platform.admin.email}
Password: ${platform.admin.password}`)
}
