import { readFileSync, writeFileSync } from 'node:fs'
import { CLOSE_REASONS, type CloseReason, NAMED_TO_VERIFIED_CLIENTS } from '@rap/data-plane-protocol'

/** Keeps the table of close codes in docs/protocols/data-plane.md the one in the code. `--write` writes it. */
const PAGE = 'docs/protocols/data-plane.md'
const MARK = /<!-- close-codes -->\n(?:\n\|[\s\S]*?\n(?=\n[^|]))?/

const rows = Object.entries(CLOSE_REASONS).map(([reason, { code, open, detail }]) => {
  const seen = open
    ? 'everybody'
    : NAMED_TO_VERIFIED_CLIENTS.has(reason as CloseReason)
      ? 'a verified client'
      : 'audit and log only'
  return `| ${code} | \`${reason}\` | ${seen} | ${detail} |`
})
const table = `<!-- close-codes -->\n\n| code | reason | seen by | meaning |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`

const page = readFileSync(PAGE, 'utf8')
const wanted = page.replace(MARK, () => table)
if (page !== wanted) {
  if (process.argv.includes('--write')) writeFileSync(PAGE, wanted)
  else {
    console.log(
      `${PAGE}: the table of close codes is out of date; run: node scripts/checks/check-close-codes.ts --write`,
    )
    process.exitCode = 1
  }
}
