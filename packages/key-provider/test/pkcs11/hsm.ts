import { type SoftHsm, type SoftHsmToken, startSoftHsm } from '@rap/testkit'
import type { Test } from 'tap'
import type { KeySource } from '../../src/index.ts'
import { openPkcs11Source, type Pkcs11SourceDeps, type Pkcs11SourceOptions } from '../../src/pkcs11/index.ts'

/** SoftHSM reads its settings once in a process, so a test file has one, with all its tokens made before the first use. */
export async function softHsm(t: Test): Promise<SoftHsm> {
  const hsm = await startSoftHsm()
  t.teardown(() => hsm.remove())
  Object.assign(process.env, hsm.env)
  return hsm
}

export function optionsOf(hsm: SoftHsm, token: SoftHsmToken, change: Partial<Pkcs11SourceOptions> = {}) {
  const places = { module: hsm.module, token_label: token.label, pin_file: token.pinFile, timeout_ms: 30_000 }
  return { name: 'hsm-1', provider: 'pkcs11', key_label: 'rap-2026', ...places, ...change } as Pkcs11SourceOptions
}

export async function openSource(t: Test, options: Pkcs11SourceOptions, deps?: Pkcs11SourceDeps): Promise<KeySource> {
  const source = await openPkcs11Source(options, deps)
  t.teardown(() => source.destroy())
  return source
}

/** Makes a key with the tool that operators use. */
export async function makeKey(hsm: SoftHsm, token: SoftHsmToken, label: string, ...flags: string[]): Promise<void> {
  const [type = 'AES:32', ...rest] = flags
  await hsm.tool(token, '--keygen', '--key-type', type, '--label', label, ...rest)
}

/** Makes the key of a source as `rap-secrets` does. */
export async function create(source: KeySource): Promise<string> {
  if (source.create === undefined) throw new TypeError('a PKCS#11 source can make its key')
  return await source.create()
}
