import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { commonProblems, type ProblemError } from '@rap/service-kit'

/** Keeps docs/operations/errors.md the problem codes of the services. `--write` writes it. */
const PAGE = 'docs/operations/errors.md'

type Factories = Readonly<Record<string, (options?: object) => ProblemError>>

const [controlPlane, resolver] = await Promise.all(
  ['control-plane', 'secret-resolver'].map(
    async name => ((await import(`../../services/${name}/src/errors.ts`)) as { problems: Factories }).problems,
  ),
)

function table(problems: Factories): string {
  const rows = Object.keys(problems)
    .sort()
    .map(code => {
      const problem = problems[code]?.()
      return `| \`${code}\` | ${problem?.status} | ${problem?.title} |`
    })
  return `| code | status | title |\n| --- | --- | --- |\n${rows.join('\n')}\n`
}

const page = `# Error codes

Every error of an HTTP API is a problem document (RFC 9457) with a stable \`code\`; a program decides on the code, never on the words.
\`request_id\` joins it with the log. This page is made by \`node scripts/checks/check-errors.ts --write\`.

Logon failures of a target, which \`POST /v1/sessions\` answers with, are in [logon-failures.md](logon-failures.md); close codes of the
data plane in [../protocols/data-plane.md](../protocols/data-plane.md).

## Every service

${table(commonProblems as unknown as Factories)}
## control-plane

${table(controlPlane ?? {})}
## secret-resolver

${table(resolver ?? {})}`

if (!existsSync(PAGE) || readFileSync(PAGE, 'utf8') !== page) {
  if (process.argv.includes('--write')) writeFileSync(PAGE, page)
  else {
    console.log(`${PAGE} is out of date; run: node scripts/checks/check-errors.ts --write`)
    process.exitCode = 1
  }
}
