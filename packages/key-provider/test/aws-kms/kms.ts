import { type KmsOptions, type KmsServer, startKms } from '@rap/testkit'
import type { Test } from 'tap'
import { type AwsKmsSourceDeps, AwsKmsSourceOptions, openAwsKmsSource } from '../../src/aws-kms/index.ts'
import type { GeneratedDataKey, KeyProvider, KeySource } from '../../src/index.ts'

/** A contract server whose credentials are those of this process. */
export async function kmsServer(t: Test, options: KmsOptions = {}): Promise<KmsServer> {
  const kms = await startKms(options)
  t.teardown(() => kms.stop())
  for (const name of ['AWS_SESSION_TOKEN', 'AWS_PROFILE', 'AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_KMS']) {
    delete process.env[name]
  }
  Object.assign(process.env, kms.env)
  return kms
}

export async function openSource(
  t: Test,
  kms: KmsServer,
  change: Partial<AwsKmsSourceOptions> = {},
  deps: AwsKmsSourceDeps = { allowPlainHttp: true },
): Promise<KeySource> {
  const key_arn = change.key_arn ?? kms.createKey()
  const options = { name: 'kms-1', provider: 'aws-kms' as const, key_arn, endpoint: kms.endpoint, ...change }
  const source = await openAwsKmsSource(options, deps)
  t.teardown(() => source.destroy())
  return source
}

export async function generate(key: KeyProvider, context: Buffer): Promise<GeneratedDataKey> {
  if (key.generateDataKey === undefined) throw new TypeError('KMS makes data keys')
  return await key.generateDataKey(context)
}

export { AwsKmsSourceOptions }
