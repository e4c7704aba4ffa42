#!/usr/bin/env node
import { loadEnvFile } from 'node:process'
import { Command, CommanderError } from 'commander'
import { type CommandOutcome, changeKey, endKey, listKeys, makeKey, rewrapAll, verifyAll } from './commands.ts'
import { EXIT_INTERRUPTED, EXIT_USAGE, failureOf, failureText } from './failure.ts'
import { Output } from './output.ts'
import { type ToolSession, withSession } from './session.ts'

const stopping = new AbortController()
const program = new Command('rap-secrets')

/** Runs one command with the global options in force; its answer is the exit code. */
async function run(command: (session: ToolSession, output: Output) => Promise<CommandOutcome>): Promise<void> {
  const { json, envFile } = program.opts<{ json?: boolean; envFile?: string }>()
  const output = new Output({ json })
  try {
    if (envFile !== undefined) loadEnvFile(envFile)
    process.exitCode = await withSession(output, session => command(session, output))
  } catch (error) {
    process.exitCode = report(error, output)
  }
}

function report(error: unknown, output: Output): number {
  if (stopping.signal.aborted) {
    output.result('interrupted', {}, 'Stopped. What is done stays done; run it again to go on.')
    return EXIT_INTERRUPTED
  }
  const failure = failureOf(error)
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
  .action(() => run(listKeys))

program
  .command('create-key')
  .argument('<source>', 'name of a key source in SECRET_KEY_PROVIDERS_FILE')
  .description('make the key material of a configured source: a file, a key in an HSM, a Transit key')
  .action((source: string) => run((session, output) => makeKey(source, session, output)))

program
  .command('rotate-key')
  .argument('<source>', 'name of the key source whose key is to wrap new secrets')
  .description('wrap new secrets with this key from now on; a Vault source that is active already gets a new version')
  .action((source: string) => run((session, output) => changeKey(source, session, output)))

program
  .command('rewrap')
  .description(
    'wrap with the active key what other keys have wrapped; may be stopped and run again, and run several times at once',
  )
  .option('--from <key-id...>', 'only what these keys have wrapped')
  .option('--dry-run', 'say what would be done')
  .action((options: { from?: string[]; dryRun?: boolean }) =>
    run((session, output) => rewrapAll({ ...options, signal: stopping.signal }, session, output)),
  )

program
  .command('retire-key')
  .argument('<key-id>', 'the key')
  .description('end the use of a key; refused while it is active or anything is wrapped with it')
  .action((keyId: string) => run((session, output) => endKey(keyId, session, output)))

program
  .command('verify')
  .description('see that every stored secret could be opened and is unchanged; reads only, decrypts no secret')
  .action(() => run((session, output) => verifyAll(stopping.signal, session, output)))

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE
}
