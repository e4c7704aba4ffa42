import { Anchor, Badge, Button, Card, Group, SimpleGrid, Skeleton, Stack, Text, TextInput, Title } from '@mantine/core'
import { useDocumentTitle } from '@mantine/hooks'
import type { Resource, SessionRecord } from '@rap/client-sdk'
import { IconDeviceDesktop, IconPlayerPlay, IconPlus, IconSearch } from '@tabler/icons-react'
import { useCallback, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Notice } from '../shell/notice.tsx'
import { Shell } from '../shell/shell.tsx'
import { useLoad } from '../shell/use-load.ts'
import { NewResource } from './new-resource.tsx'

const LIVE = new Set<SessionRecord['state']>(['assigning', 'ready', 'active', 'detached'])
const WAITING = ['first', 'second', 'third']

/** The desktops that the person may open, and the sessions that are open already. */
export function ResourcesPage() {
  useDocumentTitle('Desktops · RAP')
  const { rap, me, organizationId } = useAuth()
  const [search, setSearch] = useState('')
  const [adding, setAdding] = useState(false)
  const load = useCallback(async () => {
    if (organizationId === undefined) return { resources: [], sessions: [] }
    const [resources, sessions] = await Promise.all([
      rap.resources.list({ organizationId }),
      rap.sessions.list({ organizationId }),
    ])
    return { resources: resources.items, sessions: sessions.items.filter(session => LIVE.has(session.state)) }
  }, [rap, organizationId])
  const { value, failure, reload } = useLoad(load)

  const role = me?.memberships.find(membership => membership.organization_id === organizationId)?.role
  const administers = role === 'owner' || role === 'admin'
  const wanted = search.trim().toLowerCase()
  const shown = value?.resources.filter(({ name, address }) => `${name} ${address}`.toLowerCase().includes(wanted))

  return (
    <Shell>
      <Stack>
        <Group justify="space-between">
          <Title order={2}>Desktops</Title>
          <Group>
            <TextInput
              aria-label="Search desktops"
              placeholder="Search"
              leftSection={<IconSearch size={16} aria-hidden />}
              value={search}
              onChange={event => setSearch(event.currentTarget.value)}
            />
            {administers && (
              <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setAdding(true)}>
                Add desktop
              </Button>
            )}
          </Group>
        </Group>
        {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
        {failure === undefined && shown === undefined && (
          <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }}>
            {WAITING.map(name => (
              <Skeleton key={name} height={128} />
            ))}
          </SimpleGrid>
        )}
        {shown !== undefined && shown.length === 0 && <Empty searched={wanted !== ''} administers={administers} />}
        {shown !== undefined && shown.length > 0 && (
          <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }}>
            {shown.map(resource => (
              <ResourceCard
                key={resource.id}
                resource={resource}
                sessions={value?.sessions.filter(session => session.resource_id === resource.id) ?? []}
                onChange={reload}
              />
            ))}
          </SimpleGrid>
        )}
      </Stack>
      {organizationId !== undefined && (
        <NewResource
          opened={adding}
          organizationId={organizationId}
          onClose={() => setAdding(false)}
          onCreated={reload}
        />
      )}
    </Shell>
  )
}

function Empty({ searched, administers }: { searched: boolean; administers: boolean }) {
  return (
    <Notice icon={<IconDeviceDesktop aria-hidden />} title={searched ? 'No desktop has that name' : 'No desktops yet'}>
      {searched
        ? 'Try a shorter word.'
        : administers
          ? 'Add one with its address and the account to sign in with.'
          : 'Ask an administrator of your organization to add one.'}
    </Notice>
  )
}

interface ResourceCardProps {
  readonly resource: Resource
  readonly sessions: readonly SessionRecord[]
  onChange(): void
}

function ResourceCard({ resource, sessions, onChange }: ResourceCardProps) {
  const { rap, me } = useAuth()
  const [, navigate] = useLocation()
  const own = sessions.find(session => session.user_id === undefined || session.user_id === me?.id)
  const end = async (id: string): Promise<void> => {
    await rap.sessions.terminate(id).catch(() => undefined)
    onChange()
  }
  return (
    <Card withBorder component="article" aria-label={resource.name}>
      <Stack justify="space-between" h="100%">
        <div>
          <Group justify="space-between" wrap="nowrap">
            <Anchor component={Link} href={`/resources/${resource.id}`} fw={600} c="inherit" truncate>
              {resource.name}
            </Anchor>
            <Badge variant="light">{own === undefined ? resource.protocol : own.state}</Badge>
          </Group>
          <Text size="sm" c="dimmed" truncate>
            {resource.address}
          </Text>
        </div>
        <Group gap="xs">
          <Button
            leftSection={<IconPlayerPlay size={16} aria-hidden />}
            onClick={() => navigate(own === undefined ? `/resources/${resource.id}/desktop` : `/sessions/${own.id}`)}
          >
            {own === undefined ? 'Connect' : 'Resume'}
          </Button>
          {own !== undefined && (
            <Button variant="default" onClick={() => void end(own.id)}>
              End session
            </Button>
          )}
        </Group>
      </Stack>
    </Card>
  )
}
