import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { NT_STATUS_REASONS, type NtStatusReason, ntStatusReason } from '../../packages/rdp/src/credssp/index.ts'

/** Keeps docs/operations/logon-failures.md the failures of the worker. `--write` writes it. */
const PAGE = 'docs/operations/logon-failures.md'

interface Words {
  readonly title: string
  readonly detail: string
  readonly remedy: string
}

interface EndWords {
  readonly detail: string
  readonly remedy?: string
}

const { FAILURES, codeOfCredSsp } = (await import('../../services/rdp-worker/src/target/failure.ts')) as {
  FAILURES: Readonly<Record<string, Words>>
  codeOfCredSsp: (code: string) => string
}
const { ERROR_INFO, LICENSE_ERRORS } = (await import('../../services/rdp-worker/src/relays/end-words.ts')) as {
  ERROR_INFO: Readonly<Record<number, EndWords>>
  LICENSE_ERRORS: Readonly<Record<number, EndWords>>
}

const hex = (value: number): string => `\`0x${value.toString(16).padStart(8, '0')}\``

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}

/** The statuses that share a reason, in one row. */
function statusRows(): string[][] {
  const byReason = new Map<NtStatusReason, number[]>()
  for (const [status, reason] of NT_STATUS_REASONS) {
    byReason.set(reason, [...(byReason.get(reason) ?? []), status])
  }
  // 0 is no error, and so a status that nobody explains.
  const rows = [...byReason, [ntStatusReason(0), undefined] as const]
  return rows.map(([{ code, title, remedy }, statuses]) => [
    `\`${codeOfCredSsp(code)}\``,
    statuses === undefined ? 'any other' : statuses.map(hex).join(' '),
    `${title}.`,
    remedy,
  ])
}

const page = `# Logon failures

Why a desktop does not come up, as \`POST /v1/sessions\` and the portal say it: a stable \`code\`, what happened, and what helps. A program decides on
the code, never on the words. This page is made by \`node scripts/checks/check-logon-failures.ts --write\`.

What a person is told never names the address, the account or the certificate of a target. Those are in the log of the worker, as \`facts\` of
\`target_failed\`, under the attachment's id; the fingerprint of a certificate that was refused is in the audit too (\`target_certificate_refused\`).
Who may manage a desktop is told the fingerprint with the answer (\`fingerprint_sha256\`), and decides about it: [target-identity.md](target-identity.md).
No password is sent before the certificate of the target is verified.

## From the address to the logon

In the order in which they can happen.

${table(
  ['code', 'what happened', 'what helps'],
  Object.entries(FAILURES).map(([code, { title, detail, remedy }]) => [`\`${code}\``, `${title}. ${detail}`, remedy]),
)}
## What a target says about the account

By an NTSTATUS in the logon (CredSSP). The status is in \`detail\` and in the log.

${table(['code', 'NTSTATUS', 'what happened', 'what helps'], statusRows())}
## What a desktop says when it ends the connection

After the logon: in \`detail\` and \`remedy\` of the \`closing\` message, with the reason \`ERR_RELAY_TARGET_CLOSED\` (close codes:
[../protocols/data-plane.md](../protocols/data-plane.md)). The code is in the log of the worker (\`relay_event\`).

${endTable('Set Error Info', ERROR_INFO)}
Licensing errors:

${endTable('licensing error', LICENSE_ERRORS)}`

function endTable(what: string, words: Readonly<Record<number, EndWords>>): string {
  return table(
    [what, 'what happened', 'what helps'],
    Object.entries(words).map(([code, { detail, remedy = '' }]) => [hex(Number(code)), detail, remedy]),
  )
}

if (!existsSync(PAGE) || readFileSync(PAGE, 'utf8') !== page) {
  if (process.argv.includes('--write')) writeFileSync(PAGE, page)
  else {
    console.log(`${PAGE} is out of date; run: node scripts/checks/check-logon-failures.ts --write`)
    process.exitCode = 1
  }
}
