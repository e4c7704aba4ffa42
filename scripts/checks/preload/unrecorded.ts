// Loaded before tap's recorder (see run.ts): takes it out of the way.
// tap records which files each process of a test loads, for coverage and `tap --changed`. It does so with a loader of its own in
// every process, the services of the end-to-end tests included, also where coverage is off; that costs a fifth of the suite.
// Should a later tap do it in another way, this does nothing, and the suite is slower.
import module from 'node:module'

const RECORDER = /\/@tapjs\/processinfo\//
const { register } = module

Object.assign(globalThis, { [Symbol.for('@tapjs/processinfo.ProcessInfoNodeData')]: { files: [], sources: {} } })
Object.assign(module, {
  register: (...args: Parameters<typeof register>) => (RECORDER.test(String(args[0])) ? undefined : register(...args)),
})
