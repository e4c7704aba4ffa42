import { writeFile } from 'node:fs/promises'
import { type Output, table } from '@rap/tool-kit'
import { joinTokenCreated, makeJoinToken } from '../platform-ca/enrol.ts'
import {
  activateGeneration,
  type CaDeps,
  foundPlatformCa,
  importPlatformCa,
  renewIntermediate,
  retireGeneration,
  rollBackGeneration,
  type StepOptions,
  stageGeneration,
} from '../platform-ca/rotation.ts'
import { newestBundle } from '../platform-ca/store.ts'
import { type KeyFile, readCertificateFile, readKeyFile, writeKeyFile } from './root-key.ts'
import type { ToolSession } from './session.ts'

export interface FoundArguments {
  readonly name?: string | undefined
  readonly refName?: string | undefined
  readonly rootKeyOut?: KeyFile | undefined
}

/** `init`: the first generation and bundle. */
export async function init(options: FoundArguments, session: ToolSession, output: Output): Promise<void> {
  const { name, refName, rootKeyOut } = options
  await foundPlatformCa(session.steps, {
    name,
    refName,
    ...(rootKeyOut !== undefined && { keepRootKey: pem => writeKeyFile(pem, rootKeyOut) }),
  })
  const where =
    rootKeyOut === undefined
      ? 'The keys of root and intermediate are in the database, wrapped.'
      : `The key of the root is in ${rootKeyOut.path}: keep it away from this machine. It is needed for a rotation only.`
  await tell('platform_ca_created', `The platform CA is made. ${where}`, session, output)
}

export interface ImportArguments {
  readonly root: string
  readonly rootKey: KeyFile
  readonly keepRootKeyOut: boolean
  readonly intermediate?: string | undefined
  readonly intermediateKey?: KeyFile | undefined
  readonly refName?: string | undefined
}

/** `import`: an existing CA as the first generation. */
export async function importCa(options: ImportArguments, session: ToolSession, output: Output): Promise<void> {
  const rootKey = await readKeyFile(options.rootKey)
  const key = options.intermediateKey === undefined ? undefined : await readKeyFile(options.intermediateKey)
  try {
    await importPlatformCa(session.steps, {
      rootPem: await readCertificateFile(options.root),
      rootKey,
      storeRootKey: !options.keepRootKeyOut,
      refName: options.refName,
      ...(options.intermediate !== undefined &&
        key !== undefined && {
          intermediate: { certificatePem: await readCertificateFile(options.intermediate), key },
        }),
    })
  } finally {
    rootKey.fill(0)
    key?.fill(0)
  }
  await tell('platform_ca_imported', 'The CA is imported as generation 1.', session, output)
}

export interface StepArguments {
  readonly force?: boolean | undefined
  readonly rootKeyFile?: KeyFile | undefined
  readonly rootKeyOut?: KeyFile | undefined
}

/** The steps of a rotation, and what to say after each. */
export const STEPS = {
  stage: {
    take: stageGeneration,
    text: 'The next generation is published beside the one that issues.\nNext, once clients have fetched the bundle: rap-pki activate',
  },
  activate: {
    take: activateGeneration,
    text: 'The new generation issues from now on; every owner of a certificate renews within a minute or two.\nNext: rap-pki status, then rap-pki retire',
  },
  rollback: { take: rollBackGeneration, text: 'One step back.' },
  retire: { take: retireGeneration, text: 'The older root is published no more, and its keys are gone.' },
  'renew-intermediate': { take: renewIntermediate, text: 'The active generation issues with a new intermediate.' },
} as const satisfies Record<string, { take: (deps: CaDeps, options: StepOptions) => Promise<void>; text: string }>

export async function takeStep(
  name: keyof typeof STEPS,
  { force, rootKeyFile, rootKeyOut }: StepArguments,
  session: ToolSession,
  output: Output,
): Promise<void> {
  const { take, text } = STEPS[name]
  const rootKey = rootKeyFile === undefined ? undefined : await readKeyFile(rootKeyFile)
  try {
    await take(session.steps, {
      force,
      rootKey,
      ...(rootKeyOut !== undefined && { keepRootKey: (pem: string) => writeKeyFile(pem, rootKeyOut) }),
    })
  } finally {
    rootKey?.fill(0)
  }
  await tell(`platform_ca_${name.replaceAll('-', '_')}`, text, session, output)
}

/** `status`: generations and bundles. */
export async function status(session: ToolSession, output: Output): Promise<void> {
  await tell('platform_ca', '', session, output)
}

async function tell(event: string, text: string, { platformCa }: ToolSession, output: Output): Promise<void> {
  const state = await platformCa.status()
  if (!state.managed) {
    output.result(event, state, 'No platform CA is managed here. Next: rap-pki init, or rap-pki import')
    return
  }
  const generations = state.generations.map(row => [
    String(row.generation),
    row.state,
    row.root.not_after.slice(0, 10),
    row.root.key,
    row.intermediate.not_after.slice(0, 10),
    String(row.certificates_in_force),
  ])
  const bundles = state.bundles.map(row => [row.ref, String(row.roots.length), row.created_at, row.sha256])
  const head = ['GENERATION', 'STATE', 'ROOT ENDS', 'ROOT KEY', 'INTERMEDIATE ENDS', 'CERTIFICATES']
  output.result(
    event,
    state,
    [
      ...(text === '' ? [] : [text, '']),
      table(head, generations),
      '',
      table(['BUNDLE', 'ROOTS', 'PUBLISHED', 'SHA-256'], bundles),
    ].join('\n'),
  )
}

/** `bundle`: the newest trust bundle, to be installed where a client starts. */
export async function writeBundle(
  { out, signed }: { out?: string | undefined; signed?: boolean | undefined },
  { sql }: ToolSession,
  output: Output,
): Promise<void> {
  const bundle = await newestBundle(sql)
  if (bundle === undefined) {
    output.result('trust_bundle', { managed: false }, 'No platform CA is managed here.')
    return
  }
  const text = signed === true ? `${JSON.stringify(bundle.signed)}\n` : bundle.certificates
  if (out === undefined) {
    process.stdout.write(text)
    return
  }
  await writeFile(out, text)
  const { ref, version, sha256 } = bundle
  output.result('trust_bundle', { ref, version, sha256, path: out }, `${ref} is in ${out}\nSHA-256 ${sha256}`)
}

export interface JoinTokenArguments {
  readonly kind: 'worker' | 'service'
  readonly id?: string | undefined
  readonly name: string
  readonly dns: readonly string[]
  readonly ip: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly ttlSeconds: number
  readonly out?: string | undefined
}

/** `join-token`: for the first services, before anybody can log in. */
export async function joinToken(
  options: JoinTokenArguments,
  { sql, record }: ToolSession,
  output: Output,
): Promise<void> {
  const { kind, id, name, dns, ip, labels, ttlSeconds, out } = options
  const { token } = await sql.begin(async tx => {
    const made = await makeJoinToken(tx, { kind, id, name, dns_names: dns, ip_addresses: ip, labels, ttlSeconds }, null)
    await record(tx, joinTokenCreated(made.token, made.identity))
    return made
  })
  const { join_token, ...rest } = { ...token, expires_at: token.expires_at.toISOString() }
  if (out !== undefined) await writeFile(out, `${join_token}\n`, { mode: 0o600, flag: 'wx' })
  const shown = out === undefined ? { join_token } : { path: out }
  output.result(
    'join_token_created',
    { ...rest, ...shown },
    [
      `${kind} ${rest.identity_id} may enrol until ${rest.expires_at}.`,
      out === undefined ? join_token : `The token is in ${out}`,
      'Set there: RAP_IDENTITY_DIR, RAP_JOIN_TOKEN_FILE, CONTROL_PLANE_URL',
    ].join('\n'),
  )
}
