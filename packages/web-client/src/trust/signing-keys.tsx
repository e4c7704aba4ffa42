import { Badge, Button, Code, Group, Paper, Skeleton, Stack, Text } from '@mantine/core'
import type { SigningKey } from '@rap/client-sdk'
import { type ReactNode, useCallback, useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Moment } from '../shell/moment.tsx'
import { Section } from '../shell/section.tsx'
import { useLoad } from '../shell/use-load.ts'
import { StepDialog } from './step-dialog.tsx'

const STATES = {
  active: { label: 'Active', color: 'green', order: 0 },
  next: { label: 'Next', color: 'blue', order: 1 },
  retiring: { label: 'Retiring', color: 'yellow', order: 2 },
  revoked: { label: 'Revoked', color: 'red', order: 3 },
  retired: { label: 'Retired', color: 'gray', order: 4 },
} as const satisfies Record<SigningKey['state'], object>
/** Keys out of use are shown as far back as this. */
const MAX_OVER = 10

/** The keys that sign what clients and workers show each other: when the next rotation is, and what to do after a theft. */
export function SigningKeySection() {
  const { rap } = useAuth()
  const { value, failure, reload } = useLoad(useCallback(() => rap.signingKeys.list(), [rap]))
  const [rotating, setRotating] = useState(false)
  const [revoking, setRevoking] = useState<SigningKey>()
  if (failure !== undefined) return <FailureAlert failure={failure} onRetry={reload} />
  if (value === undefined) return <Skeleton height={240} aria-label="Loading" />
  const sorted = value.keys.toSorted((a, b) => STATES[a.state].order - STATES[b.state].order)
  const over = sorted.filter(isOver)
  return (
    <Section
      title="Signing keys"
      explanation="They sign the tokens that desktops are reached with. The next one is known to every verifier before it signs, so that a rotation refuses no valid token."
    >
      <Group justify="space-between">
        <Text size="sm">
          {value.next_rotation_at === null ? (
            'No rotation is scheduled.'
          ) : (
            <>
              Next rotation <Moment at={value.next_rotation_at} />
            </>
          )}
        </Text>
        <Button size="xs" onClick={() => setRotating(true)}>
          Rotate now
        </Button>
      </Group>
      {sorted.length === 0 && <Text size="sm">There is none yet: the control plane makes them when it starts.</Text>}
      <Stack component="ul" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
        {[...sorted.filter(key => !isOver(key)), ...over.slice(0, MAX_OVER)].map(key => (
          <Paper key={key.kid} component="li" withBorder p="sm" data-kid={key.kid}>
            <Group justify="space-between" wrap="nowrap" align="start">
              <Stack gap={2} miw={0} style={{ overflowWrap: 'anywhere' }}>
                <Group gap="xs">
                  <Code>{key.kid}</Code>
                  <Badge variant="light" color={STATES[key.state].color}>
                    {STATES[key.state].label}
                  </Badge>
                </Group>
                <Text size="sm" c="dimmed">
                  {lineOf(key)}
                </Text>
              </Stack>
              {!isOver(key) && (
                <Button
                  variant="default"
                  size="xs"
                  style={{ flex: 'none' }}
                  aria-label={`Revoke ${key.kid}`}
                  onClick={() => setRevoking(key)}
                >
                  Revoke
                </Button>
              )}
            </Group>
          </Paper>
        ))}
      </Stack>
      {rotating && (
        <StepDialog
          title="Rotate the signing keys?"
          action="Rotate"
          take={options => rap.signingKeys.rotate(options)}
          onClose={() => setRotating(false)}
          onChanged={reload}
        >
          <Text size="sm">
            The next key signs from now on, and another next one is made. Tokens of the key before stay valid until they
            end, within minutes. Desktops stay open.
          </Text>
          <Text size="sm">
            A worker that is given keys in a file takes no new sessions until the key that signs is in it.
          </Text>
        </StepDialog>
      )}
      {revoking !== undefined && (
        <StepDialog
          title="Revoke this signing key?"
          action="Revoke for good"
          color="red"
          take={() => rap.signingKeys.revoke(revoking.kid)}
          onClose={() => setRevoking(undefined)}
          onChanged={reload}
        >
          <Text size="sm">
            For a key that may be in other hands: no token that it signed opens anything from then on. Whoever is about
            to connect has to try again; desktops that are open stay open.
          </Text>
          <Text size="sm">
            <Code style={{ overflowWrap: 'anywhere' }}>{revoking.kid}</Code>
          </Text>
        </StepDialog>
      )}
    </Section>
  )
}

function isOver({ state }: SigningKey): boolean {
  return state === 'retired' || state === 'revoked'
}

function lineOf(key: SigningKey): ReactNode {
  const { state } = key
  const [words, at] = {
    next: ['May sign from', key.signs_next_at],
    active: ['Signs since', key.activated_at],
    retiring: ['Its last tokens end soon; retiring since', key.retiring_at],
    retired: ['Retired', key.retired_at],
    revoked: ['Revoked', key.revoked_at],
  }[state]
  return (
    <>
      {words} <Moment at={at ?? key.created_at} />
    </>
  )
}
