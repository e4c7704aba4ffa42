import { Badge, Group, Paper, Stack, Text } from '@mantine/core'
import type { CaGeneration } from '@rap/client-sdk'
import { counted } from '../shell/counted.ts'
import { Moment } from '../shell/moment.tsx'
import { Section } from '../shell/section.tsx'
import { Fingerprint } from './fingerprint.tsx'

const STATES = {
  active: { label: 'Active', color: 'green', order: 0 },
  staged: { label: 'Staged', color: 'blue', order: 1 },
  superseded: { label: 'Superseded', color: 'yellow', order: 2 },
  retired: { label: 'Retired', color: 'gray', order: 3 },
} as const satisfies Record<CaGeneration['state'], object>

const ROOT_KEYS = {
  wrapped: 'its key is in the database, wrapped',
  elsewhere: 'its key is kept elsewhere',
  none: 'its key is gone',
} as const satisfies Record<CaGeneration['root']['key'], string>

/** Every generation of the CA: a root and the intermediate that issues. */
export function GenerationList({ generations }: { generations: readonly CaGeneration[] }) {
  const sorted = generations.toSorted(
    (a, b) => STATES[a.state].order - STATES[b.state].order || b.generation - a.generation,
  )
  return (
    <Section
      title="Generations"
      explanation="The active one issues; a staged one is known to clients and issues nothing yet; a superseded one still counts; a retired one no more."
    >
      <Stack component="ul" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
        {sorted.map(generation => (
          <Item key={generation.generation} generation={generation} />
        ))}
      </Stack>
    </Section>
  )
}

function Item({ generation }: { generation: CaGeneration }) {
  const { root, intermediate, state, certificates_in_force: count } = generation
  return (
    <Paper component="li" withBorder p="sm" data-generation={generation.generation}>
      <Stack gap={2} style={{ overflowWrap: 'anywhere' }}>
        <Group gap="xs">
          <Text fw={500}>Generation {generation.generation}</Text>
          <Badge variant="light" color={STATES[state].color}>
            {STATES[state].label}
          </Badge>
        </Group>
        <Text size="sm">{counted(count, 'certificate') || 'No certificate'} in force</Text>
        <Text size="sm">
          Root {root.subject}, until <Moment at={root.not_after} />; {ROOT_KEYS[root.key]}
        </Text>
        <Fingerprint of={`the root of generation ${generation.generation}`} value={root.sha256} />
        <Text size="sm">
          Intermediate {intermediate.subject}, until <Moment at={intermediate.not_after} />
        </Text>
        <Text size="sm" c="dimmed">
          Made <Moment at={generation.created_at} />
          {generation.activated_at !== null && (
            <>
              {' '}
              · activated <Moment at={generation.activated_at} />
            </>
          )}
          {generation.retired_at !== null && (
            <>
              {' '}
              · retired <Moment at={generation.retired_at} />
            </>
          )}
        </Text>
      </Stack>
    </Paper>
  )
}
