import { Badge, Button, Code, Group, Paper, Stack, Text } from '@mantine/core'
import type { SecretVersion } from '@rap/client-sdk'
import { IconHistory } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import { Moment } from '../shell/moment.tsx'

interface HistoryProps {
  readonly versions: readonly SecretVersion[]
  /** The name of the person with this id. */
  nameOf(userId: string | null | undefined): string
  /** Absent where the person may not write. */
  readonly onRestore?: ((version: SecretVersion) => void) | undefined
}

const STATES = {
  live: { label: 'In force', color: 'green' },
  superseded: { label: 'Can be restored', color: 'blue' },
  destroyed: { label: 'Destroyed', color: 'gray' },
} as const satisfies Record<SecretVersion['state'], object>

/** Every version that is known, the newest first. */
export function History({ versions, nameOf, onRestore }: HistoryProps) {
  return (
    <Stack component="ol" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
      {versions.map(version => (
        <Paper key={version.version} component="li" withBorder p="sm" data-version={version.version}>
          <Group justify="space-between">
            <Stack gap={2} flex="1 1 16rem" miw={0}>
              <Group gap="xs">
                <Text fw={600}>Version {version.version}</Text>
                <Badge variant="light" color={STATES[version.state].color}>
                  {STATES[version.state].label}
                </Badge>
              </Group>
              <Text size="sm">
                Written <Moment at={version.created_at} /> by {nameOf(version.created_by)}
              </Text>
              <Text size="sm" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
                {fateOf(version)}
              </Text>
            </Stack>
            {version.state === 'superseded' && onRestore !== undefined && (
              <Button
                variant="default"
                size="xs"
                leftSection={<IconHistory size={16} aria-hidden />}
                aria-label={`Restore version ${version.version}`}
                onClick={() => onRestore(version)}
              >
                Restore this version
              </Button>
            )}
          </Group>
        </Paper>
      ))}
    </Stack>
  )
}

function fateOf({ state, key_id, superseded_at, destroy_after, destroyed_at }: SecretVersion): ReactNode {
  if (state === 'destroyed' && destroyed_at !== null)
    return (
      <>
        Destroyed <Moment at={destroyed_at} />; its content is gone for good
      </>
    )
  return (
    <>
      {superseded_at !== null && (
        <>
          Replaced <Moment at={superseded_at} />
          {destroy_after !== null && (
            <>
              , kept until <Moment at={destroy_after} />
            </>
          )}{' '}
          ·{' '}
        </>
      )}
      Wrapped with key <Code>{key_id}</Code>
    </>
  )
}
