import t from 'tap'
import { debianPackages, findProgram, missingDebianPackages, requireProgram } from '../src/index.ts'

t.test('a program is found by name, also outside PATH, or by path', async t => {
  const path = process.env.PATH
  t.teardown(() => {
    process.env.PATH = path
  })
  process.env.PATH = ''
  t.match(findProgram('sh'), /\/sh$/)
  t.equal(findProgram('/bin/sh'), '/bin/sh')
  t.equal(findProgram('rap-no-such-program', 'sh'), findProgram('sh'))
  t.equal(findProgram('rap-no-such-program'), undefined)
})

t.test('a program that is missing is named with its package', async t => {
  t.throws(() => requireProgram('rap-no-such-program'), { code: 'ERR_TESTKIT_NOT_INSTALLED', facts: { packages: [] } })
  const table: readonly { provides: readonly string[]; packages: readonly string[] }[] = debianPackages
  for (const { provides, packages } of table) {
    t.ok(packages.every(name => /^[a-z0-9][a-z0-9.+-]+$/.test(name)))
    t.ok(provides.length > 0)
  }
})

t.test('the demo needs a part of what the tests need', async t => {
  const tests = new Set(missingDebianPackages('test'))
  for (const name of missingDebianPackages('demo')) t.ok(tests.has(name), name)
})
