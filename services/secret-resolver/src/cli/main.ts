#!/usr/bin/env node
import { loadEnvFile } from 'node:process'
import type { Output } from '@rap/tool-kit'
import { Command, CommanderError } from 'commander'
import type * as Commands from './commands.ts'

import type { ToolSession } from './session.ts'

/** 128 + SIGINT. */
const EXIT_INTERRUPTED = 130
/** What commander and most tools use for a wrong call. */
const EXIT_USAGE = 2

const stopping = new AbortController()
const program = new Command('rap-secrets')

type Act = (commands: typeof Commands, session: ToolSession, output: Output) => Promise<Commands.CommandOutcome>

/** Runs one command with the global options in force; its answer is the exit code. */
async function run(act: Act): Promise<void> {
  // Loaded here, so that --help does not wait for a database driver.
  const [{ hardenProcess }, commands, { withSession }, { Output: Out }] = await Promise.all([
    import('@rap/service-kit'),
    import('./commands.ts'),
    import('./session.ts'),
    import('@rap/tool-kit'),
  ])
  hardenProcess()
  const { json, envFile } = program.opts<{ json?: boolean; envFile?: string }>()
  const output = new Out({ json })
  try {
    if (envFile !== undefined) loadEnvFile(envFile)
    process.exitCode = await withSession({ env: process.env, output }, session => act(commands, session, output))
  } catch (error) {
    process.exitCode = await report(error, output)
  }
}

async function report(error: unknown, output: Output): Promise<number> {
  if (stopping.signal.aborted) {
    output.result('interrupted', {}, 'Stopped. What is done stays done; run it again to go on.')
    return EXIT_INTERRUPTED
  }
  const [{ failureOf, failureText }, { KNOWN_FAILURES }] = await Promise.all([
    import('@rap/tool-kit'),
    import('./failure.ts'),
  ])
  const failure = failureOf(error, KNOWN_FAILURES)
  if (output.isJson) {
    const { exitCode: _, ...fields } = failure
    output.result('failed', fields, '')
  }
  process.stderr.write(failureText(failure))
  return failure.exitCode
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // The second one ends it at once; the transaction that is open then is rolled back by the database.
    if (stopping.signal.aborted) process.exit(EXIT_INTERRUPTED)
    stopping.abort(new Error('interrupted'))
  })
}

program
  .description(
    'Master keys of the stored secrets: rotate to a new key, wrap everything again with it, retire the old one.\n' +
      'It needs the environment of the secret-resolver (DATABASE_URL, SECRET_ENCRYPTION_KEY_*, SECRET_KEY_PROVIDERS_FILE),\n' +
      'and no resolver has to be stopped. See docs/operations/secrets.md.',
  )
  .option('--env-file <path>', 'read the environment from this file; variables that are set already win')
  .option('--json', 'JSON lines instead of text; what a pipe gets anyway')
  .exitOverride()
  .showHelpAfterError('(rap-secrets --help, or rap-secrets <command> --help)')

program
  .command('keys')
  .description('list the keys: where each lives, what needs it, whether it opens. Exit code 1 if a needed one does not')
  .action(() => run((commands, session, output) => commands.listKeys(session, output)))

program
  .command('create-key')
  .argument('<source>', 'name of a key source in SECRET_KEY_PROVIDERS_FILE')
  .description('make the key material of a configured source: a file, a key in an HSM, a Transit key')
  .action((source: string) => run((commands, session, output) => commands.makeKey(source, session, output)))

program
  .command('rotate-key')
  .argument('<source>', 'name of the key source whose key is to wrap new secrets')
  .description('wrap new secrets with this key from now on; a Vault source that is active already gets a new version')
  .action((source: string) => run((commands, session, output) => commands.changeKey(source, session, output)))

program
  .command('rewrap')
  .description(
    'wrap with the active key what other keys have wrapped; may be stopped and run again, and run several times at once',
  )
  .option('--from <key-id...>', 'only what these keys have wrapped')
  .option('--dry-run', 'say what would be done')
  .action((options: { from?: string[]; dryRun?: boolean }) =>
    run((commands, session, output) => commands.rewrapAll({ ...options, signal: stopping.signal }, session, output)),
  )

program
  .command('retire-key')
  .argument('<key-id>', 'the key')
  .description('end the use of a key; refused while it is active or anything is wrapped with it')
  .action((keyId: string) => run((commands, session, output) => commands.endKey(keyId, session, output)))

program
  .command('verify')
  .description('see that every stored secret could be opened and is unchanged; reads only, decrypts no secret')
  .action(() => run((commands, session, output) => commands.verifyAll(stopping.signal, session, output)))

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE
}
