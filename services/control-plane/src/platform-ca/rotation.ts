import { createPrivateKey } from 'node:crypto'
import {
  checkImport,
  createIntermediate,
  createRoot,
  crossSign,
  type NewAuthority,
  openAuthority,
  PkiError,
  type SigningAuthority,
} from '@rap/pki'
import type { Sql, TransactionSql } from '@rap/service-kit'
import type { EventBy } from '../audit/write.ts'
import { problems } from '../errors.ts'
import type { KeyWrapping } from '../keys/wrapping.ts'
import { generations, openRoot, sealAuthorityKey } from './authorities.ts'
import { publishBundle } from './bundles.ts'
import {
  type AuthorityRow,
  certificatesInForce,
  insertAuthority,
  listAuthorities,
  lockPlatformCa,
  newestBundle,
  replaceIntermediate,
  setAuthorityState,
} from './store.ts'

/** Days that a root and an intermediate are valid for. */
const ROOT_DAYS = 3650
const INTERMEDIATE_DAYS = 730
/** What CNs of authorities begin with; a CN holds 64 characters. */
const DEFAULT_NAME = 'RAP platform CA'
export const DEFAULT_REF_NAME = 'rap-platform-ca'

export interface CaDeps {
  readonly sql: Sql
  readonly keys: KeyWrapping
  readonly trustDomain: string
  /** How long a bundle is published before anything is issued that only it vouches for, in minutes. */
  readonly overlapMinutes: number
  readonly now: () => Date
  /** Appends to the audit, as whoever asked. */
  readonly record: (tx: TransactionSql, event: EventBy) => Promise<void>
}

export interface FoundOptions {
  readonly name?: string | undefined
  readonly refName?: string | undefined
  /** Given the root's key (PKCS#8 PEM) in place of the database; the step is undone where it throws. */
  readonly keepRootKey?: ((pem: string) => Promise<void>) | undefined
}

export interface StepOptions {
  /** Takes a step that would be refused for those who are not ready for it. */
  readonly force?: boolean | undefined
  /** Key of the active root, PKCS#8 DER, where it is kept elsewhere; the caller zeroes it. */
  readonly rootKey?: Buffer | undefined
  readonly keepRootKey?: FoundOptions['keepRootKey']
}

export interface ImportOptions {
  readonly rootPem: string
  /** PKCS#8 DER of the root's key: it signs the first bundle. The caller zeroes it. */
  readonly rootKey: Buffer
  /** Whether the root's key is stored, wrapped, or stays where it is. */
  readonly storeRootKey: boolean
  /** An intermediate that is there already; one is made otherwise. */
  readonly intermediate?: { readonly certificatePem: string; readonly key: Buffer } | undefined
  readonly refName?: string | undefined
}

/**
 * Makes generation 1 and publishes bundle v1. Throws ProblemError ERR_PLATFORM_CA_EXISTS.
 */
export async function foundPlatformCa(deps: CaDeps, options: FoundOptions = {}): Promise<void> {
  await step(deps, 'platform_ca_created', async tx => {
    if ((await listAuthorities(tx)).length > 0) throw problems.ERR_PLATFORM_CA_EXISTS()
    const root = await newRoot(deps, { generation: 1, ...options })
    await insertGeneration(tx, deps, { generation: 1, state: 'active', root, crossCertificate: null })
    return await publish(tx, deps, { roots: [root.certificatePem], signer: root.authority, refName: options.refName })
  })
}

/**
 * Takes an existing CA as generation 1. Throws ProblemError ERR_PLATFORM_CA_EXISTS, and PkiError for a certificate or key
 * that cannot be one of a platform CA.
 */
export async function importPlatformCa(deps: CaDeps, given: ImportOptions): Promise<void> {
  await step(deps, 'platform_ca_imported', async tx => {
    if ((await listAuthorities(tx)).length > 0) throw problems.ERR_PLATFORM_CA_EXISTS()
    const now = deps.now()
    const authority = await openAuthority(given.rootPem, given.rootKey)
    const made =
      given.intermediate === undefined
        ? await createIntermediate({ root: authority, name: intermediateName(1), days: INTERMEDIATE_DAYS, now })
        : { certificatePem: given.intermediate.certificatePem, privateKey: Buffer.from(given.intermediate.key) }
    checkImport({ rootPem: given.rootPem, intermediatePem: made.certificatePem, now })
    await openAuthority(made.certificatePem, made.privateKey)
    const rootKey = { certificatePem: given.rootPem, privateKey: Buffer.from(given.rootKey) }
    await insertAuthority(tx, {
      generation: 1,
      state: 'active',
      root_certificate: given.rootPem,
      root_wrapped_key: given.storeRootKey ? await sealAuthorityKey(deps.keys, 'root', rootKey) : null,
      intermediate_certificate: made.certificatePem,
      intermediate_wrapped_key: await sealAuthorityKey(deps.keys, 'intermediate', made),
      cross_certificate: null,
    })
    rootKey.privateKey.fill(0)
    return await publish(tx, deps, { roots: [given.rootPem], signer: authority, refName: given.refName })
  })
}

/**
 * Makes the next generation and publishes its root beside the one in force. Nothing is issued by it yet.
 * Throws ProblemError ERR_PLATFORM_CA_UNMANAGED, ERR_PLATFORM_CA_STEP while another rotation is under way,
 * ERR_PLATFORM_CA_ROOT_KEY_ELSEWHERE.
 */
export async function stageGeneration(deps: CaDeps, options: StepOptions = {}): Promise<void> {
  await step(deps, 'platform_ca_staged', async tx => {
    const { all, active } = await generations(tx)
    const underWay = all.find(({ state }) => state === 'staged' || state === 'superseded')
    if (underWay !== undefined) {
      throw wrongStep(
        `Generation ${underWay.generation} is ${underWay.state}: end the rotation that is under way first`,
      )
    }
    const generation = (all.at(-1)?.generation ?? 0) + 1
    const signer = await openRoot(deps.keys, active, options.rootKey)
    const root = await newRoot(deps, { generation, keepRootKey: options.keepRootKey })
    const crossCertificate = await crossed(signer, root.certificatePem, deps.now())
    await insertGeneration(tx, deps, { generation, state: 'staged', root, crossCertificate })
    const published = await publish(tx, deps, { roots: [active.root_certificate, root.certificatePem], signer })
    return { ...published, cross_certificate: crossCertificate !== null }
  })
}

/**
 * Issues by the staged generation from now on. Throws ProblemError ERR_PLATFORM_CA_STEP, and ERR_PLATFORM_CA_OVERLAP while the
 * bundle is younger than the overlap, unless forced.
 */
export async function activateGeneration(deps: CaDeps, { force = false }: StepOptions = {}): Promise<void> {
  await step(deps, 'platform_ca_activated', async tx => {
    const { all, active } = await generations(tx)
    const staged = all.find(({ state }) => state === 'staged')
    const bundle = await newestBundle(tx)
    if (staged === undefined || bundle === undefined) throw wrongStep('No generation is staged')
    const waitSeconds = Math.ceil(
      (bundle.created_at.getTime() + deps.overlapMinutes * 60_000 - deps.now().getTime()) / 1000,
    )
    if (waitSeconds > 0 && !force) {
      throw problems.ERR_PLATFORM_CA_OVERLAP({
        detail: `${bundle.ref} is published for ${deps.overlapMinutes} min first, so that clients have fetched it`,
        extras: { retry_after_seconds: waitSeconds },
      })
    }
    // One active row at any time: the old one steps back first.
    await setAuthorityState(tx, active.generation, 'superseded')
    await setAuthorityState(tx, staged.generation, 'active')
    return { generation: staged.generation, bundle_ref: bundle.ref, forced: waitSeconds > 0 }
  })
}

/**
 * Goes one step back: a generation that was activated waits again and the older one issues; one that waits is dropped, and
 * a bundle without it is published. Throws ProblemError ERR_PLATFORM_CA_STEP where no rotation is under way.
 */
export async function rollBackGeneration(deps: CaDeps, options: StepOptions = {}): Promise<void> {
  await step(deps, 'platform_ca_rolled_back', async tx => {
    const { all, active } = await generations(tx)
    const superseded = all.find(({ state }) => state === 'superseded')
    if (superseded !== undefined) {
      await setAuthorityState(tx, active.generation, 'staged')
      await setAuthorityState(tx, superseded.generation, 'active')
      return { generation: superseded.generation }
    }
    const staged = all.find(({ state }) => state === 'staged')
    if (staged === undefined) throw wrongStep('No rotation is under way')
    await refuseInUse(tx, staged, options)
    const signer = await openRoot(deps.keys, active, options.rootKey)
    await setAuthorityState(tx, staged.generation, 'retired')
    return await publish(tx, deps, { roots: [active.root_certificate], signer })
  })
}

/**
 * Ends the rotation: a bundle without the older root is published, and its keys are gone.
 * Throws ProblemError ERR_PLATFORM_CA_STEP, and ERR_PLATFORM_CA_IN_USE while certificates of it are in force, unless forced.
 */
export async function retireGeneration(deps: CaDeps, options: StepOptions = {}): Promise<void> {
  await step(deps, 'platform_ca_retired', async tx => {
    const { all, active } = await generations(tx)
    const superseded = all.find(({ state }) => state === 'superseded')
    if (superseded === undefined) throw wrongStep('No generation has been superseded')
    await refuseInUse(tx, superseded, options)
    const signer = await openRoot(deps.keys, active, options.rootKey)
    await setAuthorityState(tx, superseded.generation, 'retired')
    return await publish(tx, deps, { roots: [active.root_certificate], signer })
  })
}

/** Replaces the intermediate that issues by a new one of the same root. Throws ProblemError ERR_PLATFORM_CA_UNMANAGED. */
export async function renewIntermediate(deps: CaDeps, options: StepOptions = {}): Promise<void> {
  await step(deps, 'platform_ca_intermediate_renewed', async tx => {
    const { active } = await generations(tx)
    const root = await openRoot(deps.keys, active, options.rootKey)
    const made = await newIntermediate(deps, { generation: active.generation, root })
    await replaceIntermediate(tx, active.generation, {
      certificate: made.certificatePem,
      key: await sealAuthorityKey(deps.keys, 'intermediate', made),
    })
    return { generation: active.generation }
  })
}

type StepDetails = Record<string, string | number | boolean>

/** One step of the CA's life: locked, in one transaction with its audit event. */
async function step(deps: CaDeps, event: string, work: (tx: TransactionSql) => Promise<StepDetails>): Promise<void> {
  await deps.sql.begin(async tx => {
    await lockPlatformCa(tx)
    const details = await work(tx)
    await deps.record(tx, { organization_id: null, event, details })
  })
}

interface NewRoot {
  readonly certificatePem: string
  readonly authority: SigningAuthority
  /** Null where somebody else keeps it. */
  readonly privateKey: Buffer | null
}

async function newRoot(
  { now }: CaDeps,
  { generation, name = DEFAULT_NAME, keepRootKey }: FoundOptions & { generation: number },
): Promise<NewRoot> {
  const { certificatePem, privateKey } = await createRoot({
    name: `${name} root ${generation}`,
    days: ROOT_DAYS,
    now: now(),
  })
  const authority = await openAuthority(certificatePem, privateKey)
  if (keepRootKey === undefined) return { certificatePem, authority, privateKey }
  try {
    const key = createPrivateKey({ key: privateKey, format: 'der', type: 'pkcs8' })
    await keepRootKey(key.export({ type: 'pkcs8', format: 'pem' }).toString())
  } finally {
    privateKey.fill(0)
  }
  return { certificatePem, authority, privateKey: null }
}

/** Null where an imported root has no room below it: then clients must have followed before the new generation issues. */
async function crossed(issuer: SigningAuthority, certificatePem: string, now: Date): Promise<string | null> {
  try {
    return await crossSign({ issuer, certificatePem, now })
  } catch (error) {
    if (error instanceof PkiError && error.code === 'ERR_PKI_PATH_LENGTH') return null
    throw error
  }
}

async function insertGeneration(
  tx: TransactionSql,
  deps: CaDeps,
  given: { generation: number; state: 'staged' | 'active'; root: NewRoot; crossCertificate: string | null },
): Promise<void> {
  const { generation, state, root, crossCertificate } = given
  const { certificatePem, privateKey } = root
  const intermediate = await newIntermediate(deps, { generation, root: root.authority })
  await insertAuthority(tx, {
    generation,
    state,
    root_certificate: certificatePem,
    root_wrapped_key:
      privateKey === null ? null : await sealAuthorityKey(deps.keys, 'root', { certificatePem, privateKey }),
    intermediate_certificate: intermediate.certificatePem,
    intermediate_wrapped_key: await sealAuthorityKey(deps.keys, 'intermediate', intermediate),
    cross_certificate: crossCertificate,
  })
}

async function newIntermediate(
  { now }: CaDeps,
  { generation, root }: { generation: number; root: SigningAuthority },
): Promise<NewAuthority> {
  return await createIntermediate({ root, name: intermediateName(generation), days: INTERMEDIATE_DAYS, now: now() })
}

const intermediateName = (generation: number) => `${DEFAULT_NAME} issuing ${generation}`

async function publish(
  tx: TransactionSql,
  deps: CaDeps,
  given: { roots: readonly string[]; signer: SigningAuthority; refName?: string | undefined },
): Promise<StepDetails> {
  const { version, ref, sha256 } = await publishBundle(tx, {
    previous: await newestBundle(tx),
    roots: given.roots,
    signer: given.signer,
    trustDomain: deps.trustDomain,
    refName: given.refName ?? DEFAULT_REF_NAME,
    now: deps.now(),
  })
  return { bundle_version: version, bundle_ref: ref, bundle_sha256: sha256 }
}

async function refuseInUse(tx: TransactionSql, { generation }: AuthorityRow, { force = false }: StepOptions) {
  const count = (await certificatesInForce(tx)).get(generation) ?? 0
  if (count === 0 || force) return
  throw problems.ERR_PLATFORM_CA_IN_USE({
    detail: `${count} certificates of generation ${generation} are in force; their owners renew within a minute or two`,
    extras: { certificates_in_force: count },
  })
}

function wrongStep(detail: string) {
  return problems.ERR_PLATFORM_CA_STEP({ detail })
}
