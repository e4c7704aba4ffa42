import type { FastifyInstance } from 'fastify'

interface Pattern {
  readonly segments: readonly string[]
  readonly methods: Set<string>
}

const MAX_PATH_CHARACTERS = 2048

function matches(pattern: readonly string[], path: readonly string[]): boolean {
  for (const [index, segment] of pattern.entries()) {
    if (segment === '*') return true
    const given = path[index]
    if (given === undefined || (segment.startsWith(':') ? given === '' : segment !== given)) return false
  }
  return pattern.length === path.length
}

/** Remembers the routes of a server, so that a known path with another method is answered with 405 and not with 404. */
export function routeTable(app: FastifyInstance): { methodsFor: (url: string) => string[] } {
  const patterns = new Map<string, Pattern>()
  app.addHook('onRoute', route => {
    // A wildcard matches everything: it says nothing about which methods a path knows.
    if (route.url === '*' || route.url === '/*') return
    const pattern = patterns.get(route.url) ?? { segments: route.url.split('/'), methods: new Set() }
    for (const method of [route.method].flat()) pattern.methods.add(method)
    patterns.set(route.url, pattern)
  })
  return {
    methodsFor: url => {
      const path = url.slice(0, MAX_PATH_CHARACTERS).split('?', 1)[0]?.split('/') ?? []
      const methods = new Set<string>()
      for (const pattern of patterns.values()) {
        if (matches(pattern.segments, path)) for (const method of pattern.methods) methods.add(method)
      }
      return [...methods].sort()
    },
  }
}
