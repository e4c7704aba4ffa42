import { Badge, Code, Group, Paper, Stack, Text } from '@mantine/core'
import type { MasterKey } from '@rap/client-sdk'
import type { ReactNode } from 'react'
import { counted } from '../shell/counted.ts'
import { Moment } from '../shell/moment.tsx'
import { Section } from '../shell/section.tsx'

const STATES = {
  active: { label: 'Active', color: 'green', order: 0 },
  available: { label: 'Available', color: 'blue', order: 1 },
  retired: { label: 'Retired', color: 'gray', order: 2 },
} as const satisfies Record<MasterKey['state'], object>

/** Every master key that ever was: its state, where it lives, and what needs it. */
export function KeyList({ keys }: { keys: readonly MasterKey[] }) {
  const sorted = keys.toSorted((a, b) => STATES[a.state].order - STATES[b.state].order)
  return (
    <Section
      title="Master keys"
      explanation="The active key wraps what is new, an available one still opens what it has wrapped, and a retired one wraps nothing any more."
    >
      {keys.length === 0 && <Text size="sm">There is none yet: a resolver makes its keys known when it starts.</Text>}
      <Stack component="ul" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
        {sorted.map(key => (
          <KeyItem key={key.key_id} masterKey={key} />
        ))}
      </Stack>
    </Section>
  )
}

function KeyItem({ masterKey: key }: { masterKey: MasterKey }) {
  const place = [key.provider ?? 'not configured here', key.location, key.algorithm].filter(part => part !== null)
  return (
    <Paper component="li" withBorder p="sm" data-key={key.key_id}>
      <Stack gap={2} style={{ overflowWrap: 'anywhere' }}>
        <Group gap="xs">
          <Code fz="sm">{key.key_id}</Code>
          <Badge variant="light" color={STATES[key.state].color}>
            {STATES[key.state].label}
          </Badge>
        </Group>
        <Text size="sm">
          {place.join(' · ')}
          {key.source !== key.key_id && <> · source {key.source}</>}
        </Text>
        <Text size="sm" c="dimmed">
          {needOf(key)}
        </Text>
        {key.missing_on.length > 0 && (
          <Text size="sm" c="red">
            Running resolvers without it, which cannot open what it wraps: {key.missing_on.join(', ')}
          </Text>
        )}
      </Stack>
    </Paper>
  )
}

function needOf({ state, secrets, sealing_keys, activated_at, retired_at }: MasterKey): ReactNode {
  if (state === 'retired' && retired_at !== null) {
    return (
      <>
        Retired <Moment at={retired_at} />
      </>
    )
  }
  const needs = [counted(secrets, 'secret version'), counted(sealing_keys, 'sealing key')].filter(Boolean)
  if (needs.length > 0) return `Needed by ${needs.join(' and ')}`
  return activated_at === null ? 'Not used yet: it was never active' : 'Nothing needs it'
}
