import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TransitServer } from '@rap/testkit'
import { startTransit, type TransitOptions } from '@rap/testkit'
import type { Test } from 'tap'
import { Agent, request } from 'undici'
import type { KeySource, WrappedKey } from '../../src/index.ts'
import { openVaultSource, type VaultSourceDeps, type VaultSourceOptions } from '../../src/vault/index.ts'

/** A server with the HTTP API of Transit, and who may do everything there. */
export interface Target {
  readonly address: string
  readonly rootToken: string
  /** Empty for the system's store. */
  readonly caPem: string
}

export interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: what a server says is looked at, not typed
  readonly body: any
}

/** A mount of its own on a target, with what a test needs there. */
export interface Desk {
  readonly mount: string
  /** A file with that content, readable for its owner alone. */
  file(content: string, mode?: number): Promise<string>
  /** A request as root, or as another token. */
  api(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown, token?: string): Promise<Answer>
  options(changes?: Partial<VaultSourceOptions>): Promise<VaultSourceOptions>
  /** A source that is destroyed with the test; root's token in a file unless `changes` say otherwise. */
  source(changes?: Partial<VaultSourceOptions>, deps?: VaultSourceDeps): Promise<KeySource>
  /** An AppRole with this policy, and options to log in with it. */
  appRole(policy: string, role?: Record<string, unknown>): Promise<VaultSourceOptions['auth']>
}

/** Wrapped bytes under the id of the version that they say; `name` is the source's. */
export function under(wrapped: Buffer, name = 'main'): WrappedKey {
  return { keyId: `${name}:${wrapped.toString().split(':')[1]}`, wrapped }
}

export const CONTEXT = Buffer.from('organization/resource/7')
const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

/** What a service needs and no more: the README's policy with that title, for the mount and the key of the test. */
export function policyOf(title: 'rap-service' | 'rap-administrator', mount: string, key: string): string {
  const policy = README.split('```hcl\n').find(block => block.startsWith(`# ${title}`))
  if (policy === undefined) throw new Error(`the README has no policy ${title}`)
  return policy
    .slice(0, policy.indexOf('```'))
    .replaceAll('"transit/', `"${mount}/`)
    .replaceAll('/rap-secrets', `/${key}`)
}

export const servicePolicy = (mount: string, key: string) => policyOf('rap-service', mount, key)

export async function deskOn(t: Test, target: Target): Promise<Desk> {
  const mount = `rap-test-${randomBytes(6).toString('hex')}`
  const folder = t.testdir({})
  let files = 0
  const agent = new Agent(target.caPem === '' ? {} : { connect: { ca: target.caPem } })
  t.teardown(() => agent.destroy())
  const desk: Desk = {
    mount,
    async file(content, mode = 0o600) {
      files += 1
      const path = join(folder, `file-${files}`)
      await writeFile(path, content, { mode })
      return path
    },
    async api(method, path, body, token = target.rootToken) {
      const answer = await request(`${target.address}/v1/${path}`, {
        dispatcher: agent,
        method,
        headers: { 'x-vault-token': token, 'x-vault-request': 'true' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await answer.body.text()
      return { status: answer.statusCode, body: text === '' ? undefined : JSON.parse(text) }
    },
    async options(changes) {
      return {
        name: 'main',
        provider: 'vault',
        address: target.address,
        mount,
        key: 'rap',
        timeout_ms: 10_000,
        auth: { method: 'token', token_file: await desk.file(target.rootToken) },
        ...(target.caPem === '' ? {} : { ca_file: await desk.file(target.caPem) }),
        ...changes,
      }
    },
    async source(changes, deps = {}) {
      const options = await desk.options(changes)
      const source = await openVaultSource(options, { allowPlainHttp: options.address.startsWith('http:'), ...deps })
      t.teardown(() => source.destroy())
      return source
    },
    async appRole(policy, role = {}) {
      const name = `${mount}-service`
      await expectDone(desk.api('POST', `sys/policies/acl/${name}`, { policy }))
      await expectDone(desk.api('POST', `sys/auth/${mount}-approle`, { type: 'approle' }))
      t.teardown(() => desk.api('DELETE', `sys/auth/${mount}-approle`))
      const path = `auth/${mount}-approle/role/service`
      await expectDone(desk.api('POST', path, { token_policies: name, ...role }))
      const roleId = (await desk.api('GET', `${path}/role-id`)).body.data.role_id
      const secretId = (await desk.api('POST', `${path}/secret-id`, {})).body.data.secret_id
      return {
        method: 'approle',
        mount: `${mount}-approle`,
        role_id_file: await desk.file(roleId),
        secret_id_file: await desk.file(`${secretId}\n`),
      }
    },
  }
  await expectDone(desk.api('POST', `sys/mounts/${mount}`, { type: 'transit' }))
  t.teardown(() => desk.api('DELETE', `sys/mounts/${mount}`))
  return desk
}

/** The contract server with a desk on it. */
export async function contractDesk(
  t: Test,
  options: TransitOptions = {},
): Promise<Desk & { readonly server: TransitServer }> {
  const server = await startTransit(options)
  // Teardowns run last first: the desk cleans up while there is a server.
  t.teardown(() => server.stop())
  const desk = await deskOn(t, server)
  t.teardown(() => server.clearFaults())
  return { ...desk, server }
}

/** An error for what did not happen, so that a test stops where its ground is missing. */
export async function expectDone(answer: Promise<Answer>): Promise<Answer> {
  const done = await answer
  if (done.status >= 300) throw new Error(`set-up was refused: ${done.status} ${JSON.stringify(done.body)}`)
  return done
}

export async function errorOf(
  promise: Promise<unknown>,
): Promise<Error & { code?: string; facts?: Record<string, unknown> }> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}
