import { Group, Text } from '@mantine/core'
import { IconEye } from '@tabler/icons-react'
import { explained, type LivePolicy } from './live-policy.ts'

/** The light colour is see-through, and the page behind it dark. */
const TINT =
  'linear-gradient(var(--mantine-color-yellow-light), var(--mantine-color-yellow-light)), var(--mantine-color-body)'

/** Says that the desktop can be seen and not used, or not even seen, where it is so. */
export function ViewOnly({ policy }: { policy: LivePolicy | undefined }) {
  if (policy === undefined) return null
  const isSeen = policy.channels.has('display')
  if (isSeen && policy.channels.has('input')) return null
  return (
    <Group
      gap="xs"
      px="sm"
      py={6}
      justify="center"
      wrap="nowrap"
      role="status"
      data-testid="view-only"
      style={{ flex: 'none', background: TINT }}
    >
      <IconEye size={18} aria-hidden style={{ flex: 'none' }} />
      <Text size="sm">
        <b>{isSeen ? 'View only.' : 'No picture.'}</b> {explained(isSeen ? 'input' : 'display', policy)}
      </Text>
    </Group>
  )
}
