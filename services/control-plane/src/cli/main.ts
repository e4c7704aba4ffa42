#!/usr/bin/env node
import { loadEnvFile } from 'node:process'
import type { Output } from '@rap/tool-kit'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type * as Commands from './commands.ts'
import type { KeyFile } from './root-key.ts'
import type { ToolSession } from './session.ts'

/** What commander and most tools use for a wrong call. */
const EXIT_USAGE = 2

const program = new Command('rap-pki')

type Act = (commands: typeof Commands, session: ToolSession, output: Output) => Promise<void>

/** Runs one command with the global options in force. */
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
    await withSession({ env: process.env, output }, session => act(commands, session, output))
  } catch (error) {
    process.exitCode = await report(error, output)
  }
}

async function report(error: unknown, output: Output): Promise<number> {
  const [{ failureOf, failureText }, { KNOWN_FAILURES }] = await Promise.all([
    import('@rap/tool-kit'),
    import('./failure.ts'),
  ])
  const { exitCode, ...failure } = failureOf(error, KNOWN_FAILURES)
  if (output.isJson) output.result('failed', failure, '')
  process.stderr.write(failureText({ exitCode, ...failure }))
  return exitCode
}

function wholeSeconds(text: string): number {
  const seconds = Number(text)
  if (Number.isInteger(seconds) && seconds >= 60 && seconds <= 604_800) return seconds
  throw new InvalidArgumentError('60 to 604800')
}

function label(text: string, all: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('key=value')
  return { ...all, [text.slice(0, at)]: text.slice(at + 1) }
}

/** Every key file of one call has the one passphrase file. */
function keyFile(path: string | undefined, passphraseFile: string | undefined): KeyFile | undefined {
  return path === undefined ? undefined : { path, passphraseFile }
}

const passphrase = () => new Option('--passphrase-file <path>', 'passphrase of the key file: its first line')

program
  .description(
    'The platform CA: make or import it, rotate it, publish its trust bundles, admit services and workers.\n' +
      'It needs the environment of the control plane (DATABASE_URL, CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_*,\n' +
      'CONTROL_PLANE_KEY_PROVIDERS_FILE, RAP_TRUST_DOMAIN), and nothing has to be stopped. See docs/operations/trust.md.',
  )
  .option('--env-file <path>', 'read the environment from this file; variables that are set already win')
  .option('--json', 'JSON lines instead of text; what a pipe gets anyway')
  .exitOverride()
  .showHelpAfterError('(rap-pki --help, or rap-pki <command> --help)')

program
  .command('init')
  .description('make root and intermediate, and publish the first trust bundle')
  .option('--name <name>', 'what the names of the authorities begin with', 'RAP platform CA')
  .option('--ref-name <name>', 'name of the bundles', 'rap-platform-ca')
  .option('--root-key-out <path>', 'write the key of the root to this new file, and keep it out of the database')
  .addOption(passphrase())
  .action((options: { name: string; refName: string; rootKeyOut?: string; passphraseFile?: string }) =>
    run((commands, session, output) =>
      commands.init({ ...options, rootKeyOut: keyFile(options.rootKeyOut, options.passphraseFile) }, session, output),
    ),
  )

interface ImportOptions {
  root: string
  rootKeyFile: string
  keepRootKeyOut?: boolean
  intermediate?: string
  intermediateKeyFile?: string
  passphraseFile?: string
  refName: string
}

program
  .command('import')
  .description('take an existing CA: a root with its key, and an intermediate with its key or a new one')
  .requiredOption('--root <path>', 'certificate of the root, PEM')
  .requiredOption('--root-key-file <path>', 'its private key: it signs the trust bundle')
  .option('--keep-root-key-out', 'do not store the key of the root')
  .option('--intermediate <path>', 'certificate of an intermediate of this root')
  .option('--intermediate-key-file <path>', 'its private key')
  .addOption(passphrase())
  .option('--ref-name <name>', 'name of the bundles', 'rap-platform-ca')
  .action((options: ImportOptions, command: Command) => {
    if ((options.intermediate === undefined) !== (options.intermediateKeyFile === undefined)) {
      command.error('error: --intermediate and --intermediate-key-file go together')
    }
    return run((commands, session, output) =>
      commands.importCa(
        {
          root: options.root,
          rootKey: { path: options.rootKeyFile, passphraseFile: options.passphraseFile },
          keepRootKeyOut: options.keepRootKeyOut === true,
          intermediate: options.intermediate,
          intermediateKey: keyFile(options.intermediateKeyFile, options.passphraseFile),
          refName: options.refName,
        },
        session,
        output,
      ),
    )
  })

program
  .command('status')
  .description('generations and trust bundles, and how many certificates are in force')
  .action(() => run((commands, session, output) => commands.status(session, output)))

interface StepOptions {
  force?: boolean
  rootKeyFile?: string
  rootKeyOut?: string
  passphraseFile?: string
}

const STEPS: readonly (readonly [name: keyof typeof Commands.STEPS, description: string])[] = [
  ['stage', 'make the next generation, and publish its root beside the one in force'],
  ['activate', 'issue by the staged generation'],
  ['rollback', 'go one step of the rotation back'],
  ['retire', 'publish a bundle without the older root, and destroy its keys'],
  ['renew-intermediate', 'issue with a new intermediate of the same root; no client notices'],
]

for (const [name, description] of STEPS) {
  const command = program
    .command(name)
    .description(description)
    .option('--force', 'also where clients or owners of certificates are not ready for it')
    .option('--root-key-file <path>', 'key of the root that is in force, where it is not in the database')
    .addOption(passphrase())
  if (name === 'stage') command.option('--root-key-out <path>', 'write the key of the new root to this new file')
  command.action((options: StepOptions) =>
    run((commands, session, output) =>
      commands.takeStep(
        name,
        {
          force: options.force,
          rootKeyFile: keyFile(options.rootKeyFile, options.passphraseFile),
          rootKeyOut: keyFile(options.rootKeyOut, options.passphraseFile),
        },
        session,
        output,
      ),
    ),
  )
}

program
  .command('bundle')
  .description('print the newest trust bundle, PEM')
  .option('--signed', 'as JWS, with which a client begins')
  .option('--out <path>', 'write it to this file')
  .action((options: { signed?: boolean; out?: string }) =>
    run((commands, session, output) => commands.writeBundle(options, session, output)),
  )

interface JoinOptions {
  service?: 'gateway' | 'secret-resolver'
  worker?: string
  workerId?: string
  dns: string[]
  ip: string[]
  label: Record<string, string>
  ttl: number
  out?: string
}

program
  .command('join-token')
  .description('register a service or a worker, and make the one-time token that it enrols with')
  .addOption(new Option('--service <name>', 'a service').choices(['gateway', 'secret-resolver']).conflicts('worker'))
  .option('--worker <name>', 'a worker, under this name')
  .option('--worker-id <uuid>', 'a worker that is registered and enrols anew')
  .option('--dns <name...>', 'DNS names in its certificate', [])
  .option('--ip <address...>', 'IP addresses in its certificate', [])
  .option('--label <key=value>', 'label of a worker; may be repeated', label, {})
  .option('--ttl <seconds>', 'how long the token is good', wholeSeconds, 3600)
  .option('--out <path>', 'write the token to this new file instead of the terminal')
  .action((options: JoinOptions, command: Command) => {
    const name = options.service ?? options.worker
    if (name === undefined) command.error('error: give --service or --worker')
    return run((commands, session, output) =>
      commands.joinToken(
        {
          kind: options.service === undefined ? 'worker' : 'service',
          id: options.service ?? options.workerId,
          name: name as string,
          dns: options.dns,
          ip: options.ip,
          labels: options.label,
          ttlSeconds: options.ttl,
          out: options.out,
        },
        session,
        output,
      ),
    )
  })

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE
}
