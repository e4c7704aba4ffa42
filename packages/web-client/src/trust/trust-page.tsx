import { Anchor, Code, Skeleton, Stack, Tabs, Text, Title } from '@mantine/core'
import { useDocumentTitle } from '@mantine/hooks'
import { IconShieldLock } from '@tabler/icons-react'
import { useCallback, useEffect } from 'react'
import { useLocation, useSearch } from 'wouter'
import runbook from '../../../../docs/operations/trust.md?url'
import { useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Notice } from '../shell/notice.tsx'
import { Shell } from '../shell/shell.tsx'
import { useLoad } from '../shell/use-load.ts'
import { Authority } from './authority.tsx'
import { Machines } from './machines.tsx'
import { SigningKeySection } from './signing-keys.tsx'

/** Between an answer about a rotation that is under way and the next question. */
const POLL_MS = 5000

const TABS = ['machines', 'authority', 'signing-keys']

/** Who is trusted by whom, for owners of the platform: machines and their certificates, the CA, the keys that sign. */
export function TrustPage() {
  useDocumentTitle('Trust · RAP')
  const { me } = useAuth()
  return (
    <Shell>
      <Stack>
        <Title order={2}>Trust</Title>
        {me?.platform_role === 'owner' ? (
          <Trust />
        ) : (
          <Notice icon={<IconShieldLock aria-hidden />} title="This page is for owners of the platform">
            Ask one of them about workers, certificates and signing keys.
          </Notice>
        )}
      </Stack>
    </Shell>
  )
}

function Trust() {
  const { rap } = useAuth()
  const [, navigate] = useLocation()
  const asked = new URLSearchParams(useSearch()).get('tab') ?? ''
  const { value: ca, failure, reload } = useLoad(useCallback(() => rap.platformCa.status(), [rap]))
  // Machines renew by themselves while the CA is rotated, and the last step waits for them.
  const isRotating = ca?.generations.some(({ state }) => state === 'superseded') === true
  useEffect(() => {
    if (!isRotating) return
    const timer = setTimeout(reload, POLL_MS)
    return () => clearTimeout(timer)
  }, [isRotating, ca, failure, reload])
  return (
    <>
      <Text>
        Workers and services prove who they are with short-lived certificates, and clients check them against the trust
        bundle. See{' '}
        <Anchor href={runbook} target="_blank">
          the runbook
        </Anchor>{' '}
        (<Code>docs/operations/trust.md</Code>).
      </Text>
      {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
      {failure === undefined && ca === undefined && <Skeleton height={320} aria-label="Loading" />}
      {ca !== undefined && (
        <Tabs
          value={TABS.includes(asked) ? asked : 'machines'}
          onChange={tab => navigate(`/trust?tab=${tab}`, { replace: true })}
          keepMounted={false}
        >
          <Tabs.List mb="md">
            <Tabs.Tab value="machines">Machines</Tabs.Tab>
            <Tabs.Tab value="authority">Certificate authority</Tabs.Tab>
            <Tabs.Tab value="signing-keys">Signing keys</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="machines">
            <Machines isManaged={ca.managed} />
          </Tabs.Panel>
          <Tabs.Panel value="authority">
            <Authority status={ca} onChanged={reload} />
          </Tabs.Panel>
          <Tabs.Panel value="signing-keys">
            <SigningKeySection />
          </Tabs.Panel>
        </Tabs>
      )}
    </>
  )
}
