// Loaded first into every process of a test run (strip-types.ts): takes modules whose types are stripped already.
// Node 22 compiles its stripper and strips some hundred modules again in each process, which is a third of the start of a service.
// The text is that of Node's own stripper, found by the hash of the source as it is now; what is not found, Node strips itself.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

// tap asks for source maps, but stripped text has every line and column where the source has it.
process.setSourceMapsEnabled(false)

registerHooks({
  load(url, context, nextLoad) {
    if (context.format !== 'module-typescript' || !url.startsWith('file:')) return nextLoad(url, context)
    const name = createHash('sha256')
      .update(readFileSync(new URL(url)))
      .digest('hex')
    try {
      const source = readFileSync(new URL(`${name}.js`, import.meta.url), 'utf8')
      return { format: 'module', source: `${source}\n\n//# sourceURL=${url}`, shortCircuit: true }
    } catch {
      return nextLoad(url, context)
    }
  },
})
