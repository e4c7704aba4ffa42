import type { FastifyInstance } from 'fastify'

export interface OpenApiOptions {
  title: string
  description: string
  version: string
  /** Path of the page; `/docs` when absent. */
  path?: string
  /** Security schemes of the API, by name, as OpenAPI 3.1 objects. */
  securitySchemes?: Readonly<Record<string, object>>
  tags?: readonly { name: string; description: string }[]
}

/** Serves an OpenAPI 3.1 description of every route that is added later, made from the TypeBox schemas. */
export async function addOpenApi(app: FastifyInstance, options: OpenApiOptions): Promise<void> {
  const { title, description, version, path = '/docs', securitySchemes = {}, tags = [] } = options
  // Only one service has such a page, and the others start sooner without its libraries.
  const [{ default: swagger }, { default: swaggerUi }] = await Promise.all([
    import('@fastify/swagger'),
    import('@fastify/swagger-ui'),
  ])
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title, description, version },
      components: { securitySchemes: securitySchemes as never },
      tags: [...tags],
    },
  })
  await app.register(swaggerUi, { routePrefix: path, staticCSP: true, uiConfig: { deepLinking: false } })
}
