import { Badge, Button, Group, Paper, Stack, Text } from '@mantine/core'
import type { JoinToken } from '@rap/client-sdk'
import { useState } from 'react'
import { type Explanation, useAuth } from '../auth/auth.tsx'
import { ChangeDialog } from '../shell/change-dialog.tsx'
import { Moment } from '../shell/moment.tsx'
import { Section } from '../shell/section.tsx'
import { explainTrust } from './explain-trust.ts'

const STATES = {
  open: { label: 'Open', color: 'yellow' },
  used: { label: 'Used', color: 'green' },
  expired: { label: 'Expired', color: 'gray' },
  deleted: { label: 'Deleted', color: 'gray' },
} as const satisfies Record<JoinToken['state'], object>
/** Tokens that are over are shown as far back as this. */
const MAX_OVER = 10

interface JoinTokenListProps {
  readonly tokens: readonly JoinToken[] | undefined
  readonly failure: Explanation | undefined
  onChanged(): void
}

/** The tokens that wait, and the last ones that do not any more. */
export function JoinTokenList({ tokens = [], failure, onChanged }: JoinTokenListProps) {
  const [deleting, setDeleting] = useState<JoinToken>()
  const { rap } = useAuth()
  const open = tokens.filter(({ state }) => state === 'open')
  const over = tokens.filter(({ state }) => state !== 'open').slice(0, MAX_OVER)
  return (
    <Section
      title="Join tokens"
      explanation="An open one makes whoever has it a member of the platform, once. What is not needed any more is better deleted."
      failure={failure}
    >
      {tokens.length === 0 && <Text size="sm">There is none.</Text>}
      <Stack component="ul" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
        {[...open, ...over].map(token => (
          <Paper key={token.id} component="li" withBorder p="xs">
            <Group justify="space-between" wrap="nowrap">
              <Stack gap={0} miw={0} style={{ overflowWrap: 'anywhere' }}>
                <Group gap="xs">
                  <Text size="sm" fw={500}>
                    {token.name}
                  </Text>
                  <Badge size="sm" variant="light" color={STATES[token.state].color}>
                    {STATES[token.state].label}
                  </Badge>
                </Group>
                <Text size="sm" c="dimmed">
                  <TokenLine token={token} />
                </Text>
              </Stack>
              {token.state === 'open' && (
                <Button
                  variant="default"
                  size="xs"
                  style={{ flex: 'none' }}
                  aria-label={`Delete the join token for ${token.name}`}
                  onClick={() => setDeleting(token)}
                >
                  Delete
                </Button>
              )}
            </Group>
          </Paper>
        ))}
      </Stack>
      {deleting !== undefined && (
        <ChangeDialog
          title={`Delete the join token for ${deleting.name}?`}
          action="Delete"
          color="red"
          change={() => rap.joinTokens.delete(deleting.id)}
          explain={explainTrust}
          onClose={() => setDeleting(undefined)}
          onChanged={onChanged}
        >
          <Text size="sm">Nobody can join with it from then on. The machine stays registered.</Text>
        </ChangeDialog>
      )}
    </Section>
  )
}

function TokenLine({ token }: { token: JoinToken }) {
  if (token.state === 'used' && token.used_at !== null) {
    return (
      <>
        Used <Moment at={token.used_at} />
      </>
    )
  }
  if (token.state === 'deleted' && token.deleted_at !== null) {
    return (
      <>
        Deleted <Moment at={token.deleted_at} />
      </>
    )
  }
  return (
    <>
      {token.state === 'open' ? 'Good until ' : 'Expired '}
      <Moment at={token.expires_at} />
    </>
  )
}
