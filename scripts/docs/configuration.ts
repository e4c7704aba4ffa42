import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describeConfig } from '@rap/service-kit'
import { configurationPage, type ServiceConfiguration } from './configuration-page.ts'

/** Writes docs/operations/configuration.md from the config schemas of the services; `--check` only says whether it is up to date. */
const ROOT = resolve(import.meta.dirname, '../..')
const PAGE = join(ROOT, 'docs/operations/configuration.md')

async function readService(folder: string): Promise<ServiceConfiguration | undefined> {
  const file = join(ROOT, 'services', folder, 'src/config.ts')
  if (!existsSync(file)) return undefined
  const { configSchema } = (await import(pathToFileURL(file).href)) as {
    configSchema?: Parameters<typeof describeConfig>[0]
  }
  if (configSchema?.type !== 'object') throw new Error(`${file} exports no configSchema`)
  const manifest = JSON.parse(readFileSync(join(ROOT, 'services', folder, 'package.json'), 'utf8')) as {
    description: string
  }
  return { name: folder, description: manifest.description, rows: describeConfig(configSchema) }
}

const folders = readdirSync(join(ROOT, 'services')).sort()
const services = (await Promise.all(folders.map(readService))).filter(service => service !== undefined)
const page = configurationPage(services)
const undescribed = services.flatMap(({ name, rows }) =>
  rows.filter(row => row.description === '').map(row => `${name}: ${row.variable} has no description`),
)

for (const problem of undescribed) console.error(problem)
if (undescribed.length > 0) process.exitCode = 1
else if (!process.argv.includes('--check')) {
  mkdirSync(dirname(PAGE), { recursive: true })
  writeFileSync(PAGE, page)
} else if (!existsSync(PAGE) || readFileSync(PAGE, 'utf8') !== page) {
  console.error('docs/operations/configuration.md is out of date; run: node scripts/docs/configuration.ts')
  process.exitCode = 1
}
