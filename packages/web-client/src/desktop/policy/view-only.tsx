import { Group, Text } from '@mantine/core'
import { IconEye } from '@tabler/icons-react'
import { explained, type LivePolicy } from './live-policy.ts'

/** The looks of a line between the toolbar and the desktop. The light colour is see-through, and the page behind it dark. */
export function barOf(color: 'yellow' | 'blue') {
  const tint = `var(--mantine-color-${color}-light)`
  const background = `linear-gradient(${tint}, ${tint}), var(--mantine-color-body)`
  return { gap: 'xs', px: 'sm', py: 6, justify: 'center', wrap: 'nowrap', style: { flex: 'none', background } } as const
}

/** Says that the desktop can be seen and not used, or not even seen, where it is so. */
export function ViewOnly({ policy }: { policy: LivePolicy | undefined }) {
  if (policy === undefined) return null
  const isSeen = policy.channels.has('display')
  if (isSeen && policy.channels.has('input')) return null
  return (
    <Group {...barOf('yellow')} role="status" data-testid="view-only">
      <IconEye size={18} aria-hidden style={{ flex: 'none' }} />
      <Text size="sm">
        <b>{isSeen ? 'View only.' : 'No picture.'}</b> {explained(isSeen ? 'input' : 'display', policy)}
      </Text>
    </Group>
  )
}
