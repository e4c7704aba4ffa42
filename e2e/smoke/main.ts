import { smoke } from './platform-ca-direct-wss.ts'

const isTerminal = process.stderr.isTTY === true
const report = await smoke({
  onProgress: step => process.stderr.write(`  ${step}\n`),
  onRow: ({ claim, held, detail }) =>
    process.stderr.write(held ? `held    ${claim}\n` : `FAILED  ${claim}: ${detail}\n`),
})
const width = Math.max(...report.rows.map(({ claim }) => claim.length))
const lines = report.rows.map(
  ({ claim, held, detail }) => `${held ? 'held  ' : 'FAILED'}  ${claim.padEnd(width)}  ${detail}`,
)
process.stdout.write(`${isTerminal ? '\n' : ''}${lines.join('\n')}\n\n`)
const failed = report.rows.filter(({ held }) => !held).length
process.stdout.write(`${report.rows.length - failed} held, ${failed} failed\n`)
process.exitCode = report.held ? 0 : 1
