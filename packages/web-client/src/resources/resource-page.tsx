import { Anchor, Button, Group, Skeleton, Stack, Text, Title } from '@mantine/core'
import { useDocumentTitle } from '@mantine/hooks'
import { IconArrowLeft, IconPlayerPlay } from '@tabler/icons-react'
import { useCallback } from 'react'
import { Link, useLocation } from 'wouter'
import { useAuth } from '../auth/auth.tsx'
import { ResourcePolicySection } from '../policies/resource-policy-section.tsx'
import { SecretSection } from '../secrets/secret-section.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Shell } from '../shell/shell.tsx'
import { useLoad } from '../shell/use-load.ts'
import { TargetSection } from '../targets/target-section.tsx'

/** One desktop: what it is, and its identity, credential and policy for people who look after those. */
export function ResourcePage({ id }: { id: string }) {
  const { rap, me } = useAuth()
  const [, navigate] = useLocation()
  const load = useCallback(() => rap.resources.get(id), [rap, id])
  const { value: resource, failure, reload } = useLoad(load)
  useDocumentTitle(`${resource?.name ?? 'Desktop'} · RAP`)
  const membership = me?.memberships.find(({ organization_id }) => organization_id === resource?.organization_id)
  const may = (permission: string) => membership?.permissions.includes(permission) === true

  return (
    <Shell>
      <Stack>
        <Anchor component={Link} href="/" w="fit-content">
          <Group gap={4} wrap="nowrap">
            <IconArrowLeft size={16} aria-hidden /> All desktops
          </Group>
        </Anchor>
        {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
        {failure === undefined && resource === undefined && <Skeleton height={64} aria-label="Loading" />}
        {resource !== undefined && (
          <>
            <Group justify="space-between">
              <div>
                <Title order={2}>{resource.name}</Title>
                <Text c="dimmed" style={{ overflowWrap: 'anywhere' }}>
                  {resource.address}
                </Text>
              </div>
              {may('sessions.use') && (
                <Button
                  leftSection={<IconPlayerPlay size={16} aria-hidden />}
                  onClick={() => navigate(`/resources/${resource.id}/desktop`)}
                >
                  Connect
                </Button>
              )}
            </Group>
            {may('resources.manage') && <TargetSection resource={resource} />}
            {may('secrets.read_metadata') && <SecretSection resource={resource} canWrite={may('secrets.write')} />}
            {may('policies.read') && <ResourcePolicySection resource={resource} canManage={may('policies.manage')} />}
          </>
        )}
      </Stack>
    </Shell>
  )
}
