import { type Finding, findCredentials } from '@rap/credential-keys'
import { ProblemError } from '@rap/service-kit'
import { auditCaller } from '../audit/write.ts'
import type { Caller } from '../auth/caller.ts'
import type { Context } from '../context.ts'
import { problems } from '../errors.ts'
import type { Labels } from '../workers/labels.ts'
import type { Metadata } from './metadata.ts'

/** The parts of a resource that a person writes, and so could write a credential into. */
export interface WrittenParts {
  readonly name: string
  readonly address: string
  readonly metadata: Metadata
  readonly labels: Labels
}

const CODE = 'ERR_RESOURCE_PLAINTEXT_CREDENTIALS'

/**
 * In production, refuses a resource in which anything looks like a credential, before anything else is said about it.
 *
 * Throws ProblemError ERR_RESOURCE_PLAINTEXT_CREDENTIALS with the places as JSON pointers into the resource, never values.
 */
export function refuseCredentials(
  { name, address, metadata, labels }: WrittenParts,
  ctx: { production: boolean },
): void {
  if (!ctx.production) return
  const findings = findCredentials({ name, address, metadata, labels })
  if (findings.length === 0) return
  throw problems[CODE]({
    detail: `Credentials belong into the secret of the resource. Refused: ${pathsOf(findings)}`,
    extras: { findings: findings.map(finding => ({ ...finding })) },
  })
}

interface Attempt {
  readonly operation: 'create' | 'change' | 'session_start' | 'session_attach'
  readonly organizationId: string
  readonly resourceId?: string | undefined
}

/**
 * Runs `work` and writes a refusal by `refuseCredentials` into the audit, once for each attempt and outside of the
 * transaction that it undid. A row has a bound, and the rate is that of the caller's requests.
 */
export async function auditingCredentials<T>(
  ctx: Context,
  caller: Caller,
  { attempt, work }: { attempt: Attempt; work: () => Promise<T> },
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof ProblemError && error.code === CODE) {
      const findings = error.extras.findings as unknown as readonly Finding[]
      await auditCaller(ctx.sql, caller, {
        organization_id: attempt.organizationId,
        event: 'resource_rejected_plaintext_credentials',
        resource_id: attempt.resourceId,
        outcome: 'refused',
        code: CODE,
        details: { operation: attempt.operation, paths: pathsOf(findings), found: findings.length },
      })
    }
    throw error
  }
}

function pathsOf(findings: readonly Finding[]): string {
  return findings.map(({ path }) => path).join(', ')
}
