import { readFileSync, writeFileSync } from 'node:fs'
import { UPLOAD_REFUSALS } from '@rap/data-plane-protocol'

/** Keeps the table of refusals in docs/protocols/uploads.md the one in the code. `--write` writes it. */
const PAGE = 'docs/protocols/uploads.md'
const MARK = /<!-- upload-refusals -->\n(?:\n\|[\s\S]*?\n(?=\n[^|]))?/

const rows = Object.entries(UPLOAD_REFUSALS).map(
  ([code, { detail, remedy }]) => `| \`${code}\` | ${detail} | ${remedy ?? ''} |`,
)
const table = `<!-- upload-refusals -->\n\n| code | what the person reads | and may do |\n| --- | --- | --- |\n${rows.join('\n')}\n`

const page = readFileSync(PAGE, 'utf8')
const wanted = page.replace(MARK, () => table)
if (!MARK.test(page)) {
  console.log(`${PAGE}: the mark of the table of refusals is gone`)
  process.exitCode = 1
} else if (page !== wanted) {
  if (process.argv.includes('--write')) writeFileSync(PAGE, wanted)
  else {
    console.log(
      `${PAGE}: the table of refusals is out of date; run: node scripts/checks/check-upload-refusals.ts --write`,
    )
    process.exitCode = 1
  }
}
