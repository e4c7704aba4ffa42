import { type CaGeneration, type PlatformCaStatus, RapError } from '@rap/client-sdk'
import { explain } from '../auth/auth.tsx'
import type { ChangeFailure } from '../shell/change-dialog.tsx'

/** Refusals that a person may override, and what is then at stake. */
const FORCEABLE: Readonly<Record<string, string>> = {
  ERR_PLATFORM_CA_OVERLAP:
    'Clients that have not fetched the new bundle yet will take the gateway until they have. Nothing else breaks.',
  ERR_PLATFORM_CA_IN_USE:
    'Whoever still holds a certificate of this generation is shut out until it has renewed, or enrolled again.',
  ERR_SIGNING_KEY_NEXT_TOO_YOUNG:
    'Verifiers that have not read the key set again may refuse valid tokens for up to half a minute.',
}

/** Refusals of what the page would not have offered, had it known. */
const OUT_OF_DATE = new Set([
  'ERR_PLATFORM_CA_STEP',
  'ERR_PLATFORM_CA_UNMANAGED',
  'ERR_SIGNING_KEY_ENDED',
  'ERR_IDENTITY_UNKNOWN',
  'ERR_NOT_FOUND',
])

const REMEDIES: Readonly<Record<string, string>> = {
  ERR_PLATFORM_CA_ROOT_KEY_ELSEWHERE: 'Take this step with rap-pki, on the machine where the key of the root is.',
}

/** What overriding a refusal would put at stake; undefined where it cannot be overridden. */
export function stakeOf(error: unknown): string | undefined {
  if (!(error instanceof RapError) || !Object.hasOwn(FORCEABLE, error.code)) return undefined
  return FORCEABLE[error.code]
}

/** A failure of a change of trust in words. */
export function explainTrust(error: unknown): ChangeFailure {
  const explanation = explain(error)
  if (!(error instanceof RapError)) return { ...explanation, isOutOfDate: false }
  const { retryAfterSeconds } = error
  const more = retryAfterSeconds === undefined ? '' : `It can be taken in ${durationOf(retryAfterSeconds)}`
  const known = Object.hasOwn(REMEDIES, error.code) ? REMEDIES[error.code] : undefined
  return {
    ...explanation,
    detail: [explanation.detail, more].flatMap(text => (text === '' ? [] : `${text.replace(/\.$/, '')}.`)).join(' '),
    remedy: explanation.remedy ?? known,
    isOutOfDate: OUT_OF_DATE.has(error.code),
  }
}

/** `40 seconds`, `12 minutes`, `3 hours`: never less than what is left. */
export function durationOf(seconds: number): string {
  const [size, noun] = seconds < 120 ? [1, 'second'] : seconds < 7200 ? [60, 'minute'] : [3600, 'hour']
  const count = Math.ceil(seconds / size)
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** The steps of a rotation, in order, beside the two that stand alone. */
export type CaStep = 'stage' | 'activate' | 'retire' | 'rollback' | 'renewIntermediate'

/** Why a step cannot be taken now; undefined where it can. */
export function whyNot(step: CaStep, { generations }: Pick<PlatformCaStatus, 'generations'>): string | undefined {
  const find = (wanted: CaGeneration['state']) => generations.find(({ state }) => state === wanted)
  const [staged, superseded] = [find('staged'), find('superseded')]
  const elsewhere = find('active')?.root.key === 'elsewhere'
  const rootKey = elsewhere ? 'The key of its root is kept elsewhere: take this step with rap-pki.' : undefined
  const reasons: Record<CaStep, string | undefined> = {
    stage:
      staged !== undefined || superseded !== undefined
        ? 'A rotation is under way: end it, or roll it back, first.'
        : rootKey,
    activate: staged === undefined ? 'Nothing is staged.' : undefined,
    retire: superseded === undefined ? 'No older generation is left to retire.' : rootKey,
    rollback: staged === undefined && superseded === undefined ? 'No rotation is under way.' : undefined,
    renewIntermediate: rootKey,
  }
  return reasons[step]
}
