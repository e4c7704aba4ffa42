import { fileURLToPath } from 'node:url'
import { runCommand } from '@rap/testkit'
import t from 'tap'

/** Imports a module in a process of its own, and answers which of the heavy libraries that has loaded. */
async function loadedBy(module: string): Promise<string> {
  const path = fileURLToPath(new URL(module, import.meta.url))
  const script = `await import(${JSON.stringify(path)})
    const { default: { _cache: cache } } = await import('node:module')
    for (const name of ['pkcs11js', '@aws-sdk']) if (Object.keys(cache).some(file => file.includes(name))) console.log(name)`
  const output = await runCommand(process.execPath, ['--input-type=module', '--eval', script])
  return output.trim()
}

t.test('the native module and the SDK of a cloud are loaded by nobody who has no such key', async t => {
  t.equal(await loadedBy('../src/index.ts'), '')
  t.equal(await loadedBy('../src/aws-kms/index.ts'), '@aws-sdk', 'this check sees it where it is loaded')
})

t.test('the native module is never in the main thread', async t => {
  t.equal(await loadedBy('../src/pkcs11/index.ts'), '')
})
