import { access } from 'node:fs/promises'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import { commonProblems, type RapServer } from '@rap/service-kit'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** Paths that are the API's own; no page is ever served below them. */
const API_PREFIXES = ['/v1/', '/internal/', '/.well-known/', '/docs', '/healthz', '/readyz', '/metrics']
/** Vite puts files with a hash of their content in their name here. */
const HASHED_ASSETS = '/assets/'
const ONE_YEAR_SECONDS = 31_536_000

/**
 * What the portal's pages may do. WebAssembly is the RDP client, which carries itself as a data: URL; wss: because a session names its worker at run time;
 * inline styles because the component library sets them. No frame may hold the portal.
 */
export const PORTAL_CSP = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src 'self' data:",
  "connect-src 'self' wss: data:",
  "worker-src 'self' blob:",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ')

/** Serves the built portal, and its start page for every path that is a place inside it. */
export async function portalRoutes(app: RapServer, directory: string): Promise<void> {
  await access(join(directory, 'index.html'))
  await app.register(fastifyStatic as never, {
    root: directory,
    wildcard: false,
    index: ['index.html'],
    dotfiles: 'ignore',
    cacheControl: false,
    schemaHide: true,
    setHeaders: (reply: { header: (name: string, value: string) => void }, path: string) => {
      reply.header('content-security-policy', PORTAL_CSP)
      const isHashed = path.slice(directory.length).replaceAll('\\', '/').startsWith(HASHED_ASSETS)
      reply.header('cache-control', isHashed ? `public, max-age=${ONE_YEAR_SECONDS}, immutable` : 'no-cache')
    },
  })

  app.get('/*', { schema: { hide: true } as object }, async (request: FastifyRequest, reply: FastifyReply) => {
    const path = request.url.split('?', 1)[0] ?? '/'
    const isApi = API_PREFIXES.some(prefix => path === prefix || path.startsWith(prefix))
    const wantsPage = request.headers.accept?.includes('text/html') === true
    // A missing script must be a 404: a page in its place would be cached and fail in a confusing way.
    if (isApi || !wantsPage || path.startsWith(HASHED_ASSETS)) throw commonProblems.ERR_NOT_FOUND()
    return (reply as FastifyReply & { sendFile: (name: string) => FastifyReply }).sendFile('index.html')
  })
}
