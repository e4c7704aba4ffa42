import { Button, Card, Code, Group, Skeleton, Stack, Text, Title } from '@mantine/core'
import type { Resource, SecretVersion } from '@rap/client-sdk'
import { IconKey, IconPencil } from '@tabler/icons-react'
import { useCallback, useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Moment } from '../shell/moment.tsx'
import { Notice } from '../shell/notice.tsx'
import { useLoad } from '../shell/use-load.ts'
import { History } from './history.tsx'
import { RestoreVersion } from './restore-version.tsx'
import { WriteSecret } from './write-secret.tsx'

type Change = { readonly kind: 'write' } | { readonly kind: 'restore'; readonly version: SecretVersion }

/** The credential of a desktop: which version is in force, its history, and ways to change it. Never the credential. */
export function SecretSection({ resource, canWrite }: { resource: Resource; canWrite: boolean }) {
  const { rap, me } = useAuth()
  const [change, setChange] = useState<Change>()
  const { id, organization_id: organizationId } = resource
  const load = useCallback(async () => {
    const [versions, names] = await Promise.all([
      rap.resources.listSecretVersions(id),
      // Names are a courtesy: without them the history still stands.
      rap.organizations
        .listMembers(organizationId, { limit: 200 })
        .then(({ items }) => new Map(items.map(({ user_id, display_name, email }) => [user_id, display_name || email])))
        .catch(() => new Map<string, string>()),
    ])
    return { versions, names }
  }, [rap, id, organizationId])
  const { value, failure, reload } = useLoad(load)
  const versions = value?.versions ?? []
  const live = versions.find(({ state }) => state === 'live')
  const nameOf = (userId: string | null | undefined): string => {
    if (userId === null || userId === undefined) return 'somebody unknown'
    return userId === me?.id ? 'you' : (value?.names.get(userId) ?? `a former member (${userId.slice(0, 8)}…)`)
  }
  const dialog = {
    resourceId: id,
    expectedVersion: live?.version ?? 0,
    onClose: () => setChange(undefined),
    onChanged: reload,
  }
  const write = canWrite && (
    <Button
      variant={live === undefined ? 'filled' : 'default'}
      leftSection={<IconPencil size={16} aria-hidden />}
      onClick={() => setChange({ kind: 'write' })}
    >
      {live === undefined ? 'Write a credential' : 'New credential'}
    </Button>
  )

  return (
    <Stack component="section" aria-labelledby="credential-title">
      <Group justify="space-between">
        <Title order={3} id="credential-title">
          Credential
        </Title>
        {live !== undefined && write}
      </Group>
      {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
      {failure === undefined && value === undefined && <Skeleton height={120} aria-label="Loading" />}
      {value !== undefined && live === undefined && (
        <Notice
          icon={<IconKey aria-hidden />}
          title={versions.length === 0 ? 'No credential yet' : 'The credential was deleted'}
          action={write}
        >
          A session has nothing to sign in with.
        </Notice>
      )}
      {live !== undefined && (
        <Card withBorder data-testid="live-secret">
          <Text>
            <b>Version {live.version}</b> is in force, written <Moment at={live.created_at} /> by{' '}
            {nameOf(live.created_by)}.
          </Text>
          <Text size="sm" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
            Wrapped with key <Code>{live.key_id}</Code> ({live.algorithm}) · <Code>{live.secret_ref}</Code>
          </Text>
        </Card>
      )}
      {versions.length > 0 && (
        <>
          <Title order={4}>History</Title>
          <History
            versions={versions}
            nameOf={nameOf}
            onRestore={canWrite ? version => setChange({ kind: 'restore', version }) : undefined}
          />
        </>
      )}
      {change?.kind === 'write' && <WriteSecret {...dialog} />}
      {change?.kind === 'restore' && (
        <RestoreVersion {...dialog} version={change.version} nextVersion={(versions[0]?.version ?? 0) + 1} />
      )}
    </Stack>
  )
}
