import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { basename, join } from 'node:path'

const SKIPPED = new Set(['node_modules', 'dist'])

/**
 * Strips the types of every TypeScript module below `folders` into `cache`, once a content, and of `preloads` under their
 * own names, for `node --import`. INVARIANT: a file is named by the SHA-256 of its source, so that it can be missing but not stale.
 */
export function stripTypes(cache: string, folders: readonly string[], preloads: readonly string[]): string[] {
  mkdirSync(cache, { recursive: true })
  const kept = new Set<string>()
  for (const file of folders.flatMap(modulesBelow)) {
    const source = readFileSync(file, 'utf8')
    const name = `${createHash('sha256').update(source).digest('hex')}.js`
    kept.add(name)
    const path = join(cache, name)
    const stripped = existsSync(path) ? undefined : strip(source)
    if (stripped !== undefined) write(path, stripped)
  }
  const loaded = preloads.map(file => {
    const path = join(cache, `${basename(file, '.ts')}.mjs`)
    kept.add(basename(path))
    write(path, stripTypeScriptTypes(readFileSync(file, 'utf8')))
    return path
  })
  for (const name of readdirSync(cache)) if (!kept.has(name)) rmSync(join(cache, name), { force: true })
  return loaded
}

/** Undefined for what Node could not load either; whoever loads it will hear why. */
function strip(source: string): string | undefined {
  try {
    return stripTypeScriptTypes(source)
  } catch {
    return undefined
  }
}

/** Another run may write or read the same file. */
function write(path: string, text: string): void {
  const partial = `${path}.${process.pid}`
  writeFileSync(partial, text)
  renameSync(partial, path)
}

function modulesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return SKIPPED.has(entry.name) || entry.name.startsWith('.') ? [] : modulesBelow(path)
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts') ? [path] : []
  })
}
