import { commonProblems } from '@rap/service-kit'
import type { FastifyRequest, preValidationAsyncHookHandler } from 'fastify'

/** Deepest nesting that is looked into; no schema of ours goes as deep, so anything below is refused anyway. */
const MAX_DEPTH = 16

/**
 * Fastify hook: refuses text that PostgreSQL cannot hold (U+0000) and text that is no Unicode (a lone surrogate), in
 * bodies and queries, before any rule sees it. Throws ERR_VALIDATION.
 */
export function refuseBrokenText(): preValidationAsyncHookHandler {
  return async (request: FastifyRequest) => {
    if (isBroken(request.body, 0) || isBroken(request.query, 0)) {
      throw commonProblems.ERR_VALIDATION({ detail: 'Text holds a null character or is not valid Unicode' })
    }
  }
}

function isBroken(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return value.includes('\u0000') || !value.isWellFormed()
  if (typeof value !== 'object' || value === null) return false
  if (depth >= MAX_DEPTH) return true
  return Object.entries(value).some(([key, inner]) => isBroken(key, depth) || isBroken(inner, depth + 1))
}
