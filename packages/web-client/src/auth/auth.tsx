import { createRapClient, type Me, RapError } from '@rap/client-sdk'
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from 'react'

const rap = createRapClient({ baseUrl: window.location.origin })

interface Auth {
  readonly rap: typeof rap
  readonly state: 'unknown' | 'signed_out' | 'signed_in'
  readonly me: Me | undefined
  /** The organization that the portal shows; the person's first one until another is chosen. */
  readonly organizationId: string | undefined
  chooseOrganization(id: string): void
  login(email: string, password: string): Promise<void>
  logout(): Promise<void>
}

const AuthContext = createContext<Auth | undefined>(undefined)

/** Holds who is logged in. The access token stays in memory; the refresh token is a cookie that scripts cannot read. */
export function AuthProvider({ children }: { children: ReactNode }) {
  const [state, setState] = useState<Auth['state']>('unknown')
  const [me, setMe] = useState<Me>()
  const [organizationId, chooseOrganization] = useState<string>()

  const enter = useCallback(async () => {
    const found = await rap.me()
    setMe(found)
    chooseOrganization(current => current ?? found.memberships[0]?.organization_id)
    setState('signed_in')
  }, [])

  // A page that is opened again finds its log-in through the cookie.
  useEffect(() => {
    rap
      .resume()
      .then(resumed => (resumed ? enter() : setState('signed_out')))
      .catch(() => setState('signed_out'))
  }, [enter])

  const auth = useMemo<Auth>(
    () => ({
      rap,
      state,
      me,
      organizationId,
      chooseOrganization,
      async login(email, password) {
        await rap.login({ email, password, refresh: 'cookie' })
        await enter()
      },
      async logout() {
        await rap.logout().catch(() => undefined)
        setMe(undefined)
        chooseOrganization(undefined)
        setState('signed_out')
      },
    }),
    [state, me, organizationId, enter],
  )
  return <AuthContext value={auth}>{children}</AuthContext>
}

export function useAuth(): Auth {
  const auth = useContext(AuthContext)
  if (auth === undefined) throw new TypeError('useAuth is used inside AuthProvider')
  return auth
}

/** What a failure says to a person: a title, and what to do. */
export interface Explanation {
  readonly title: string
  readonly detail: string
  readonly remedy?: string | undefined
  readonly code: string
  readonly requestId?: string | undefined
}

const CLIENT_EXPLANATIONS: Readonly<Record<string, Pick<Explanation, 'title' | 'detail' | 'remedy'>>> = {
  ERR_NETWORK: {
    title: 'The server cannot be reached',
    detail: 'No answer came from RAP.',
    remedy: 'Check the network connection and try again.',
  },
  ERR_TIMEOUT: {
    title: 'The server did not answer in time',
    detail: 'The request was given up.',
    remedy: 'Try again; if it happens again, tell your administrator.',
  },
  ERR_NO_PATH: {
    title: 'No way to the desktop',
    detail: 'Neither the worker nor the gateway could be reached from this browser.',
    remedy: 'Ask your administrator whether the gateway runs and whether this network allows secure WebSockets.',
  },
}

/** Turns any failure into words; what a server explained is shown as it was explained. */
export function explain(error: unknown): Explanation {
  if (!(error instanceof RapError)) {
    return {
      title: 'Something went wrong',
      detail: 'The portal met an unexpected failure.',
      remedy: 'Reload the page and try again.',
      code: 'ERR_PORTAL',
    }
  }
  const known = CLIENT_EXPLANATIONS[error.code]
  return {
    title: known?.title ?? sentence(error.message),
    detail: error.detail ?? known?.detail ?? '',
    remedy: error.remedy ?? known?.remedy,
    code: error.code,
    requestId: error.requestId,
  }
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
