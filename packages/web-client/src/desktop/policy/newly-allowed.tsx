import { Button, CloseButton, Group, Text } from '@mantine/core'
import { CHANNEL_WORDS } from '@rap/session-policy'
import { IconPlugConnected } from '@tabler/icons-react'
import { useState } from 'react'
import { allowedSince } from './allowed-since.ts'
import type { LivePolicy } from './live-policy.ts'
import { barOf } from './view-only.tsx'

interface NewlyAllowedProps {
  readonly policy: LivePolicy | undefined
  /** Connects anew to the desktop that is open. */
  onReconnect(): void
}

/** Says what was allowed while the desktop is open, and offers the connection that has it. */
export function NewlyAllowed({ policy, onReconnect }: NewlyAllowedProps) {
  const [dismissed, setDismissed] = useState('')
  const names = policy === undefined ? [] : allowedSince(policy).map(channel => CHANNEL_WORDS[channel])
  const words = names.map(name => name.charAt(0).toLowerCase() + name.slice(1)).join(', ')
  // What is allowed later on is worth another word.
  if (words === '' || words === dismissed) return null
  return (
    <Group {...barOf('blue')} wrap="wrap" role="status" data-testid="newly-allowed">
      <Group gap="xs" wrap="nowrap" maw="100%">
        <IconPlugConnected size={18} aria-hidden style={{ flex: 'none' }} />
        <Text size="sm">
          <b>Allowed since you connected:</b> {words}. Reconnect to use it.
        </Text>
      </Group>
      <Group gap="xs" wrap="nowrap">
        <Button size="compact-sm" variant="light" title="The desktop keeps running meanwhile" onClick={onReconnect}>
          Reconnect
        </Button>
        <CloseButton size="sm" aria-label="Not now" onClick={() => setDismissed(words)} />
      </Group>
    </Group>
  )
}
