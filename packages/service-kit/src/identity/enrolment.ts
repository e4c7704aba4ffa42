import { firstTrustBundle, followTrustBundles, type HeldTrustBundle, TrustBundleError } from '@rap/trust-bundle'
import { type Authorities, askControlPlane, type EnrolmentAnswer } from './enrolment-client.ts'
import { answerOf, IssuedAnswer, PublishedBundle } from './identity-client.ts'
import { IdentityError } from './identity-error.ts'
import type { JoinToken } from './join-token.ts'

/** Clocks further apart than this are put right by a person, not by a guess; certificates begin this long before their issue. */
const MAX_SKEW_MS = 5 * 60_000
/** How many versions back the bundle is looked for that a join token names: tokens live for days, rotations are rare. */
const MAX_VERSIONS_BACK = 16
/** Refusals that the same token and request get again. */
const REFUSED: ReadonlySet<string> = new Set(['ERR_ENROLMENT_REFUSED', 'ERR_CSR_INVALID', 'ERR_CSR_NAMES'])

export interface EnrolmentOptions {
  /** Public URL of the control plane. */
  readonly baseUrl: string
  readonly trustDomain: string
  readonly token: JoinToken
  readonly now: () => number
  readonly signal?: AbortSignal | undefined
}

/**
 * The newest trust bundle, beginning with the one whose hash the join token carries.
 *
 * Nothing about the connection is believed: the bundle is compared with the hash, and each further one is signed by a root of
 * the one before. Throws IdentityError TRUST_BUNDLE, CLOCK, UNREACHABLE.
 */
export async function fetchTrustBundle(options: EnrolmentOptions): Promise<HeldTrustBundle> {
  const { token, trustDomain } = options
  const newest = await published(options, '/v1/trust-bundle')
  if (newest.signed === null) {
    throw new IdentityError('ERR_IDENTITY_TRUST_BUNDLE', 'the control plane has no CA of its own: see rap-pki init')
  }
  const expected = { sha256: token.bundleSha256, trustDomain }
  for (let version = newest.version; version > 0 && version > newest.version - MAX_VERSIONS_BACK; version--) {
    const { signed } = version === newest.version ? newest : await publishedVersion(options, version)
    const first = await bundleOf(firstTrustBundle(signed, expected))
    if (first === undefined) continue
    return await stepsOf(
      followTrustBundles(first, newest.version, async next => (await publishedVersion(options, next)).signed),
    )
  }
  throw new IdentityError(
    'ERR_IDENTITY_TRUST_BUNDLE',
    `${options.baseUrl} (CONTROL_PLANE_URL) has no trust bundle that the join token names: it is another platform's, or somebody stands in between`,
  )
}

/** Follows from a held bundle to the newest one, over connections that nothing is believed about. Throws as `fetchTrustBundle`. */
export async function catchUp(
  held: HeldTrustBundle,
  options: Pick<EnrolmentOptions, 'baseUrl' | 'now' | 'signal'>,
): Promise<HeldTrustBundle> {
  const { version } = await published(options, '/v1/trust-bundle')
  return await stepsOf(followTrustBundles(held, version, async next => (await publishedVersion(options, next)).signed))
}

/** The certificate for a join token and a request. Throws IdentityError ENROLMENT_REFUSED, CLOCK, UNREACHABLE. */
export async function enrol(options: EnrolmentOptions, platformPem: string, csrPem: string): Promise<IssuedAnswer> {
  const body = { join_token: options.token.text, csr: csrPem }
  const answer = await ask(options, '/v1/enroll', { platformPem }, body)
  if (answer.status === 200) return answerOf(IssuedAnswer, answer.body)
  const code = codeOf(answer)
  if (REFUSED.has(code)) {
    throw new IdentityError(
      'ERR_IDENTITY_ENROLMENT_REFUSED',
      `the control plane refuses the enrolment (${code}): put a new join token into RAP_JOIN_TOKEN_FILE`,
      { received: code },
    )
  }
  throw unusable(answer)
}

type Place = Pick<EnrolmentOptions, 'baseUrl' | 'now' | 'signal'>

const publishedVersion = (place: Place, version: number) => published(place, `/v1/trust-bundles/${version}`)

async function published(place: Place, path: string): Promise<PublishedBundle> {
  const answer = await ask(place, path, 'unverified')
  if (answer.status !== 200) throw unusable(answer)
  return answerOf(PublishedBundle, answer.body)
}

async function ask(
  { baseUrl, now, signal }: Place,
  path: string,
  authorities: Authorities,
  body?: unknown,
): Promise<EnrolmentAnswer> {
  const answer = await askControlPlane(new URL(path, baseUrl), { authorities, body, signal })
  checkClock(answer.serverTime, now())
  return answer
}

/** With a clock that is wrong no certificate would be valid; both times say whose it is. */
function checkClock(serverTime: number | undefined, ownTime: number): void {
  if (serverTime === undefined || Math.abs(serverTime - ownTime) <= MAX_SKEW_MS) return
  const [theirs, ours] = [new Date(serverTime).toISOString(), new Date(ownTime).toISOString()]
  throw new IdentityError(
    'ERR_IDENTITY_CLOCK',
    `the clock of this machine says ${ours}, and that of the control plane ${theirs}: set the one that is wrong`,
    { received: theirs, expected: ours },
  )
}

/** Undefined for a bundle that is not the expected one. */
async function bundleOf(first: Promise<HeldTrustBundle>): Promise<HeldTrustBundle | undefined> {
  try {
    return await first
  } catch (error) {
    if (error instanceof TrustBundleError) return undefined
    throw error
  }
}

/** Turns the refusal of a step into an error of the identity. */
export async function stepsOf(steps: Promise<HeldTrustBundle>): Promise<HeldTrustBundle> {
  try {
    return await steps
  } catch (cause) {
    if (!(cause instanceof TrustBundleError)) throw cause
    throw new IdentityError(
      'ERR_IDENTITY_TRUST_BUNDLE',
      `a newer trust bundle of the control plane is not one that follows from the held one: ${cause.message}`,
      { received: cause.code },
      { cause },
    )
  }
}

function codeOf({ body }: EnrolmentAnswer): string {
  const code = (body as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' && /^ERR_[A-Z0-9_]{1,80}$/.test(code) ? code : 'none'
}

function unusable(answer: EnrolmentAnswer): IdentityError {
  const { status } = answer
  return new IdentityError(
    'ERR_IDENTITY_UNREACHABLE',
    `the control plane answered with status ${status}, code ${codeOf(answer)}`,
    { status },
  )
}
