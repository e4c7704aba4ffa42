import { Badge, Button, Group, Paper, Stack, Text } from '@mantine/core'
import type { TargetIdentity, TargetPin } from '@rap/client-sdk'
import { Moment } from '../shell/moment.tsx'
import type { Decision } from './decisions.tsx'
import { Fingerprint } from './fingerprint.tsx'

const STATES = [
  ['approved', 'Approved', 'green'],
  ['staged', 'Staged', 'blue'],
  ['rejected', 'Rejected', 'red'],
] as const

interface PinListProps {
  readonly identity: TargetIdentity
  nameOf(userId: string | null): string
  onDecide(decision: Decision): void
}

/** What was decided, whether or not the desktop has shown it. */
export function PinList({ identity, nameOf, onDecide }: PinListProps) {
  const rows = STATES.flatMap(([state, label, color]) => identity[state].map(pin => ({ pin, state, label, color })))
  if (rows.length === 0) return <Text size="sm">Nothing yet.</Text>
  return (
    <Stack component="ul" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
      {rows.map(({ pin, state, label, color }) => (
        <Paper
          key={`${pin.kind}/${pin.sha256}`}
          component="li"
          withBorder
          p="sm"
          data-pin={pin.sha256}
          data-state={state}
        >
          <Group justify="space-between" align="flex-start">
            <Stack gap={4} flex="1 1 16rem" miw={0}>
              <Group gap="xs">
                <Text fw={600}>{pin.kind === 'certificate' ? 'Certificate' : 'Public key'}</Text>
                <Badge variant="light" color={color}>
                  {label}
                </Badge>
              </Group>
              <Fingerprint value={pin.sha256} />
              <Text size="sm" c="dimmed">
                {originOf(pin, nameOf)}
                {state === 'staged' &&
                  (pin.keep_others ? ' Leaves the others in force.' : ' Retires the others when it shows up.')}
              </Text>
            </Stack>
            <Button size="xs" variant="default" onClick={() => onDecide({ kind: 'withdraw', pin, state })}>
              Withdraw…
            </Button>
          </Group>
        </Paper>
      ))}
    </Stack>
  )
}

function originOf({ source, decided_at, decided_by }: TargetPin, nameOf: PinListProps['nameOf']) {
  if (source === 'metadata' || decided_at === null) return 'From the metadata of the desktop (certificate_pins).'
  if (decided_by === null)
    return (
      <>
        Was staged, and showed up <Moment at={decided_at} />.
      </>
    )
  return (
    <>
      Decided <Moment at={decided_at} /> by {nameOf(decided_by)}.
    </>
  )
}
