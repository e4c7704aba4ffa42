import type { RapServer } from '@rap/service-kit'
import type { Context } from '../context.ts'
import { keySetRoute } from './key-set-route.ts'
import { signingKeyRoutes } from './signing-key-routes.ts'

export { keySetRoute } from './key-set-route.ts'

/** The key set, and the keeping of signing keys. */
export function trustRoutes(app: RapServer, ctx: Context): void {
  keySetRoute(app, ctx)
  signingKeyRoutes(app, ctx)
}
