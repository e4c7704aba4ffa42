import { Button, Group, Paper, Skeleton, Stack, Text, Title } from '@mantine/core'
import type { Grant, Resource } from '@rap/client-sdk'
import type { PolicyLayers } from '@rap/session-policy'
import { IconUserPlus } from '@tabler/icons-react'
import { useCallback, useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { allOf } from '../shell/all-of.ts'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Moment } from '../shell/moment.tsx'
import { useLoad } from '../shell/use-load.ts'
import { GrantDialog } from './grant-dialog.tsx'
import { grantSummary } from './grant-summary.ts'

interface GrantListProps {
  readonly resource: Resource
  readonly above: PolicyLayers
  readonly canManage: boolean
}

/** Persons who may do less on this desktop than everybody else. */
export function GrantList({ resource: { id, organization_id: organizationId }, above, canManage }: GrantListProps) {
  const { rap } = useAuth()
  const [open, setOpen] = useState<Grant | 'new'>()
  const load = useCallback(async () => {
    const [grants, members] = await Promise.all([
      allOf(options => rap.policies.grants(id).list(options)),
      // Names to choose from: without them the list still stands.
      allOf(options => rap.organizations.listMembers(organizationId, options)).catch(() => ({ items: [] })),
    ])
    return { grants: grants.items, isCut: grants.isCut, members: members.items }
  }, [rap, id, organizationId])
  const { value, failure, reload } = useLoad(load)
  return (
    <Stack>
      <Group justify="space-between">
        <Title order={4}>Single persons</Title>
        {canManage && value !== undefined && (
          <Button
            size="xs"
            variant="default"
            leftSection={<IconUserPlus size={16} aria-hidden />}
            onClick={() => setOpen('new')}
          >
            Narrow it for a person…
          </Button>
        )}
      </Group>
      {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
      {failure === undefined && value === undefined && <Skeleton height={60} aria-label="Loading" />}
      {value?.grants.length === 0 && (
        <Text size="sm" c="dimmed">
          Everybody who may use this desktop may do the same on it.
        </Text>
      )}
      <Stack component="ul" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
        {value?.grants.map(grant => (
          <Paper key={grant.user_id} component="li" withBorder p="sm" data-grant={grant.user_id}>
            <Group justify="space-between" align="flex-start">
              <Stack gap={2} flex="1 1 16rem" miw={0}>
                <Text fw={600}>{grant.display_name || grant.email}</Text>
                <Text size="sm">{grantSummary(grant.document)}</Text>
                {grant.updated_at !== null && (
                  <Text size="sm" c="dimmed">
                    Written <Moment at={grant.updated_at} />.
                  </Text>
                )}
              </Stack>
              <Button size="xs" variant="default" onClick={() => setOpen(grant)}>
                {canManage ? 'Change…' : 'Look…'}
              </Button>
            </Group>
          </Paper>
        ))}
      </Stack>
      {value?.isCut && (
        <Text size="sm" c="dimmed">
          These are the first {value.grants.length.toLocaleString()}; the API has them all.
        </Text>
      )}
      {open !== undefined && value !== undefined && (
        <GrantDialog
          resourceId={id}
          grant={open === 'new' ? undefined : open}
          members={value.members.filter(({ user_id }) => !value.grants.some(grant => grant.user_id === user_id))}
          above={above}
          canManage={canManage}
          onClosed={() => setOpen(undefined)}
          onChanged={reload}
        />
      )}
    </Stack>
  )
}
