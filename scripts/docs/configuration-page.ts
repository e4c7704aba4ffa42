import type { ConfigRow } from '@rap/service-kit'

export interface ServiceConfiguration {
  readonly name: string
  /** One line on what the service is. */
  readonly description: string
  readonly rows: readonly ConfigRow[]
}

const INTRODUCTION = `# Configuration

<!-- Generated from services/*/src/config.ts by \`node scripts/docs/configuration.ts\`. Change the schemas, not this page. -->

Every service reads its configuration from environment variables, once, when it starts. A variable that is set to an empty
text counts as not set. When something is wrong the service prints one line for each wrong variable on standard error and
ends with exit code 78, before it opens a port or a connection. Values of secret variables are never printed, and are taken
out of the environment of the process once they are read. A variable with the prefix \`RAP_\` that a service does not know
is a warning.

\`APP_ENV\` is \`production\` unless it says otherwise (\`prod\` means the same), so that a forgotten variable leaves the
strict rules in force.

## Around the process

- **Core dumps.** The memory of the services holds keys and, for moments, credentials. Every service tells the kernel at its
  start to leave all memory out of a core file of it (\`/proc/self/coredump_filter\`); registers are still in it, so start
  services with \`ulimit -c 0\` as well (\`LimitCORE=0\` in a systemd unit, \`--ulimit core=0\` for a container), and
  without swap that is not encrypted. Where the filter cannot be written the log says \`core_files_not_closed\`. Who may
  trace the process (\`ptrace\`), or is root, can read its memory; nothing inside the process prevents that.
- **Debugging.** SIGUSR1 opens no inspector, and diagnostic reports are off. In production a service ends with exit code
  78 when it is started with \`--inspect*\`, \`--heapsnapshot-*\`, \`--tls-keylog\` or \`--trace-tls\` (also in
  \`NODE_OPTIONS\`), \`NODE_DEBUG\`, \`NODE_DEBUG_NATIVE\` or \`NODE_TLS_REJECT_UNAUTHORIZED\`. New files are readable
  by the service's user alone (umask 077).
- **Files.** The file of a master key must be readable by the service's user alone (mode 0400 or 0600), or the service does
  not start outside development. Certificates and keys are looked at every few seconds, and a renewed pair is used for
  new connections without a restart.
- **Signals.** SIGTERM and SIGINT end a service in order: \`/readyz\` answers 503, live work is drained, everything is closed,
  exit code 0. A second signal ends it at once.
- **Output.** Logs are JSON lines on standard output. The line with \`"event":"service_ready"\` carries the addresses that the
  service listens on, also when a port was 0 and the system chose one.
`

/** Text of a table cell: no line breaks, and none of the characters that Markdown or HTML would take for their own. */
function cell(text: string): string {
  return text
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('\\', '\\\\')
    .replaceAll('|', '\\|')
    .replaceAll('*', '\\*')
    .replaceAll('<', '&lt;')
}

/** A code span in a table cell; a pipe needs its backslash there too (GitHub Flavored Markdown §4.10). */
function code(text: string): string {
  const fence = text.includes('`') ? '``' : '`'
  return `${fence}${text.replaceAll('|', '\\|')}${fence}`
}

function rule({ rule, secret }: ConfigRow): string {
  const pattern = /^(.*\bmatch(?:ing)? )(\S+)$/.exec(rule)
  const text = pattern === null ? cell(rule) : `${cell(pattern[1] ?? '')}${code(pattern[2] ?? '')}`
  return secret ? `${text}; **secret**` : text
}

function defaultOf(row: ConfigRow): string {
  if (row.required) return '**required**'
  if (row.default === undefined) return 'not set'
  return row.default === '' ? 'empty' : code(row.default)
}

function tableRow(row: ConfigRow): string {
  const example = row.example === undefined ? '' : ` Example: ${code(row.example)}`
  const meaning = `${cell(row.description)}${row.description.endsWith('.') ? '' : '.'}${example}`
  return `| \`${row.variable}\` | ${rule(row)} | ${defaultOf(row)} | ${meaning} |`
}

/** The whole page; services come in the order in which they are given. */
export function configurationPage(services: readonly ServiceConfiguration[]): string {
  const sections = services.map(({ name, description, rows }) =>
    [
      `## ${name}`,
      '',
      `${description}.`,
      '',
      '| variable | value | default | meaning |',
      '| --- | --- | --- | --- |',
      ...rows.map(tableRow),
      '',
    ].join('\n'),
  )
  return [INTRODUCTION, ...sections].join('\n')
}
