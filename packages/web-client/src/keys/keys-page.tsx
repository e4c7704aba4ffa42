import { Anchor, Code, Skeleton, Stack, Text, Title } from '@mantine/core'
import { useDidUpdate, useDocumentTitle } from '@mantine/hooks'
import { IconKey } from '@tabler/icons-react'
import { useCallback, useEffect } from 'react'
import runbook from '../../../../docs/operations/secrets.md?url'
import { useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Notice } from '../shell/notice.tsx'
import { Shell } from '../shell/shell.tsx'
import { useLoad } from '../shell/use-load.ts'
import { KeyList } from './key-list.tsx'
import { ResolverList } from './resolver-list.tsx'
import { RetireStep } from './retire-step.tsx'
import { RewrapStep } from './rewrap-step.tsx'
import { RotateStep } from './rotate-step.tsx'

/** The keys that wrap every secret, for owners of the platform: see them, change them, end them. */
export function KeysPage() {
  useDocumentTitle('Secret keys · RAP')
  const { me } = useAuth()
  return (
    <Shell>
      <Stack>
        <Title order={2}>Secret keys</Title>
        {me?.platform_role === 'owner' ? (
          <Keys />
        ) : (
          <Notice icon={<IconKey aria-hidden />} title="This page is for owners of the platform">
            Ask one of them about the keys that wrap the secrets.
          </Notice>
        )}
      </Stack>
    </Shell>
  )
}

/** Between an answer about a re-wrap that is running and the next question. */
const POLL_MS = 2000

function Keys() {
  const { rap } = useAuth()
  const keys = useLoad(useCallback(() => rap.masterKeys.list(), [rap]))
  const rewraps = useLoad(useCallback(() => rap.rewraps.list(), [rap]))
  const { value: list, reload: reloadKeys } = keys
  const { value: jobs, failure: jobsFailure, reload: reloadJobs } = rewraps
  const last = jobs?.[0]
  const failure = keys.failure ?? jobsFailure
  const reload = () => {
    reloadKeys()
    reloadJobs()
  }

  // Each answer, and each failure, orders the next question, so that a slow server is not asked twice at once.
  const isRunning = last?.state === 'running'
  useEffect(() => {
    if (!isRunning) return
    const timer = setTimeout(reloadJobs, POLL_MS)
    return () => clearTimeout(timer)
  }, [isRunning, jobs, jobsFailure, reloadJobs])
  // The counts of the keys are others once a re-wrap has ended.
  useDidUpdate(reloadKeys, [last?.finished_at])

  return (
    <>
      <Text>
        Every secret is encrypted with a key of its own, which is wrapped with a master key. Changing the master key
        takes three steps; sessions start all the while. See{' '}
        <Anchor href={runbook} target="_blank">
          the runbook
        </Anchor>{' '}
        (<Code>docs/operations/secrets.md</Code>).
      </Text>
      {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
      {failure === undefined && list === undefined && <Skeleton height={320} aria-label="Loading" />}
      {list !== undefined && (
        <>
          <KeyList keys={list.items} />
          <RotateStep list={list} onChanged={reload} />
          <RewrapStep keys={list.items} last={last} onChanged={reload} />
          <RetireStep keys={list.items} onChanged={reload} />
          <ResolverList instances={list.instances} />
        </>
      )}
    </>
  )
}
