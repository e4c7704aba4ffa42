export type Capability = 'create' | 'read' | 'update' | 'delete' | 'list' | 'sudo' | 'deny'

interface Rule {
  readonly pattern: RegExp
  /** Longer literal patterns win. */
  readonly weight: number
  readonly capabilities: readonly string[]
}

export type Policy = readonly Rule[]

/** The `path "…" { capabilities = […] }` blocks of an HCL policy; undefined where the text holds anything else. */
export function parsePolicy(hcl: string): Policy | undefined {
  const text = hcl.replaceAll(/#.*$/gm, '')
  const block = /path\s+"([^"]+)"\s*\{\s*capabilities\s*=\s*\[([^\]]*)\]\s*\}/g
  if (text.replaceAll(block, '').trim() !== '') return undefined
  return [...text.matchAll(block)].map(([, path = '', list = '']) => ({
    pattern: patternOf(path),
    weight: path.replaceAll(/[+*]/g, '').length * 2 + (path.endsWith('*') ? 0 : 1),
    capabilities: [...list.matchAll(/"([a-z]+)"/g)].map(([, name = '']) => name),
  }))
}

/** Whether policies together allow this at this path: the most specific rule of all counts. */
export function allows(policies: readonly Policy[], path: string, capability: Capability): boolean {
  const matching = policies.flat().filter(rule => rule.pattern.test(path))
  const weight = Math.max(...matching.map(rule => rule.weight))
  const rules = matching.filter(rule => rule.weight === weight)
  if (rules.some(rule => rule.capabilities.includes('deny'))) return false
  return rules.some(rule => rule.capabilities.includes(capability))
}

function patternOf(path: string): RegExp {
  const parts = path.split(/([+*])/).map(part => {
    if (part === '+') return '[^/]+'
    return part === '*' ? '.*' : part.replaceAll(/[.\\^$()[\]{}|?]/g, '\\$&')
  })
  return new RegExp(`^${parts.join('')}$`)
}

/** What every token may do unless it was made without: look at itself and renew itself. */
export const DEFAULT_POLICY = parsePolicy(`
  path "auth/token/lookup-self" { capabilities = ["read"] }
  path "auth/token/renew-self" { capabilities = ["update"] }
  path "auth/token/revoke-self" { capabilities = ["update"] }
`) as Policy
