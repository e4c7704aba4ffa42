import { Alert, Button, Code, CopyButton, Group, Stack, Text } from '@mantine/core'
import type { NewJoinToken } from '@rap/client-sdk'
import { IconAlertTriangle, IconCheck, IconCopy } from '@tabler/icons-react'
import { Moment } from '../shell/moment.tsx'

/** A join token, once, with the lines for the machine. */
export function JoinTokenShown({ made, onDone }: { made: NewJoinToken; onDone(): void }) {
  const lines = linesFor(made, window.location.origin)
  return (
    <Stack>
      <Alert color="yellow" icon={<IconAlertTriangle aria-hidden />} title="It is shown this once">
        Whoever has it can become this machine, once, until <Moment at={made.expires_at} />. Bring it there over a way
        that you trust; only its hash is kept here.
      </Alert>
      <Copied label="Join token" text={made.join_token} />
      <Text size="sm">
        Or paste this on the machine, in a shell of the user who runs the service, and give the service the three
        variables:
      </Text>
      <Copied label="Lines for the machine" text={lines} />
      <Group justify="end">
        <Button onClick={onDone}>Done</Button>
      </Group>
    </Stack>
  )
}

function Copied({ label, text }: { label: string; text: string }) {
  return (
    <Stack gap={4}>
      <Group justify="space-between">
        <Text size="sm" fw={500}>
          {label}
        </Text>
        <CopyButton value={text}>
          {({ copied, copy }) => (
            <Button
              size="compact-xs"
              variant="default"
              leftSection={copied ? <IconCheck size={14} aria-hidden /> : <IconCopy size={14} aria-hidden />}
              aria-label={`Copy: ${label}`}
              onClick={copy}
            >
              {copied ? 'Copied' : 'Copy'}
            </Button>
          )}
        </CopyButton>
      </Group>
      <Code block style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }} aria-label={label}>
        {text}
      </Code>
    </Stack>
  )
}

/** A shell's history keeps no here-document that begins with a space, where it ignores such lines. */
function linesFor({ join_token: token }: NewJoinToken, origin: string): string {
  return ` install -d -m 700 /var/lib/rap/identity
 (umask 077; cat > /var/lib/rap/join-token) <<'END'
${token}
END

CONTROL_PLANE_URL=${origin}
RAP_IDENTITY_DIR=/var/lib/rap/identity
RAP_JOIN_TOKEN_FILE=/var/lib/rap/join-token`
}
