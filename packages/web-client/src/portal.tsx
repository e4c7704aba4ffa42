import { Center, Loader } from '@mantine/core'
import { lazy, Suspense } from 'react'
import { Redirect, Route, Switch } from 'wouter'
import { useAuth } from './auth/auth.tsx'
import { LoginPage } from './auth/login-page.tsx'
import { KeysPage } from './keys/keys-page.tsx'
import { OrganizationPolicyPage } from './policies/organization-policy-page.tsx'
import { ResourcePage } from './resources/resource-page.tsx'
import { ResourcesPage } from './resources/resources-page.tsx'
import { TrustPage } from './trust/trust-page.tsx'

// The RDP client is several megabytes of WebAssembly: it is fetched when a desktop is opened, not before.
const DesktopPage = lazy(() => import('./desktop/desktop-page.tsx'))

const waiting = (
  <Center mih="100dvh">
    <Loader aria-label="Loading" />
  </Center>
)

/** The pages of the portal; without a log-in there is only one. */
export function Portal() {
  const { state } = useAuth()
  if (state === 'unknown') return waiting
  if (state === 'signed_out') return <LoginPage />
  return (
    <Suspense fallback={waiting}>
      <Switch>
        <Route path="/">
          <ResourcesPage />
        </Route>
        <Route path="/resources/:id">{({ id }) => <ResourcePage key={id} id={id} />}</Route>
        <Route path="/policy">
          <OrganizationPolicyPage />
        </Route>
        <Route path="/secret-keys">
          <KeysPage />
        </Route>
        <Route path="/trust">
          <TrustPage />
        </Route>
        <Route path="/resources/:id/desktop">{({ id }) => <DesktopPage resourceId={id} />}</Route>
        <Route path="/sessions/:id">{({ id }) => <DesktopPage sessionId={id} />}</Route>
        <Route>
          <Redirect to="/" />
        </Route>
      </Switch>
    </Suspense>
  )
}
