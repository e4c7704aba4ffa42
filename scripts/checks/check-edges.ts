import { readdirSync, readFileSync } from 'node:fs'

/**
 * The rules of the house over the workspace manifests: a service never imports another service, a core package does no
 * I/O and so depends on no edge package, and testkit is for tests, the demo and the benches alone.
 */
const CORE = [
  'credential-keys',
  'token-claims',
  'trust-bundle',
  'candidate-metadata',
  'rdp',
  'data-plane-protocol',
  'session-policy',
].map(name => `@rap/${name}`)
/** The libraries that core packages may use at run time; docs/decisions/0002-dependencies.md says why. */
const CORE_LIBRARIES = new Set(['@sinclair/typebox', 'jose', 'js-md4'])
/** Node modules that do I/O, or read a clock or the environment. */
const IMPURE_IMPORT = /from '(node:(?!crypto|buffer)[a-z_/]+)'/

interface Manifest {
  readonly name: string
  readonly dependencies?: Record<string, string>
  readonly devDependencies?: Record<string, string>
}

const problems: string[] = []
const manifests = ['packages', 'services'].flatMap(tier =>
  readdirSync(tier).map(folder => ({
    folder: `${tier}/${folder}`,
    tier,
    manifest: JSON.parse(readFileSync(`${tier}/${folder}/package.json`, 'utf8')) as Manifest,
  })),
)
const services = new Set(manifests.filter(({ tier }) => tier === 'services').map(({ manifest }) => manifest.name))

for (const { folder, manifest } of manifests) {
  const run = Object.keys(manifest.dependencies ?? {})
  const all = [...run, ...Object.keys(manifest.devDependencies ?? {})]
  for (const name of all) {
    if (services.has(name))
      problems.push(`${folder}: depends on the service ${name}; services meet in packages and over HTTP`)
  }
  if (run.includes('@rap/testkit')) problems.push(`${folder}: @rap/testkit is for tests alone; make it a devDependency`)
  for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    if (version !== 'catalog:' && version !== 'workspace:*')
      problems.push(`${folder}: ${name} is pinned in the catalog of pnpm-workspace.yaml, not here`)
  }
  if (!CORE.includes(manifest.name)) continue
  for (const name of run) {
    if (!CORE.includes(name) && !CORE_LIBRARIES.has(name))
      problems.push(`${folder}: a core package does not depend on ${name}`)
  }
  for (const file of sources(`${folder}/src`)) {
    const text = readFileSync(file, 'utf8')
    const impure = text.match(IMPURE_IMPORT)?.[1]
    if (impure !== undefined) problems.push(`${file}: a core package does not import ${impure}`)
    if (/\bDate\.now\(|\bnew Date\(\)|\bprocess\.|\bMath\.random\(/.test(text))
      problems.push(`${file}: a core package holds no clock, environment or randomness`)
  }
}

for (const { folder, tier } of manifests) {
  if (tier !== 'services') continue
  for (const file of sources(`${folder}/src`)) {
    if (file.endsWith('/main.ts')) continue
    if (/\bprocess\.(env|exit|on|argv)\b/.test(readFileSync(file, 'utf8')))
      problems.push(`${file}: only main.ts touches process`)
  }
}

for (const problem of problems) console.log(problem)
process.exitCode = problems.length === 0 ? 0 : 1

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts') || name.endsWith('.tsx'))
    .map(name => `${folder}/${name}`)
}
