import { ActionIcon, Code, CopyButton, Group, Tooltip } from '@mantine/core'
import { IconCheck, IconCopy } from '@tabler/icons-react'

/** A SHA-256 as tools print it, so that it can be compared by eye, and copied. */
export function Fingerprint({ value, label = 'fingerprint' }: { value: string; label?: string }) {
  const printed = value.toUpperCase().match(/../g)?.join(':') ?? value
  return (
    <Group gap={4} wrap="nowrap" align="flex-start">
      <Code style={{ overflowWrap: 'anywhere' }} data-fingerprint={value}>
        {printed}
      </Code>
      <CopyButton value={printed}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? 'Copied' : `Copy the ${label}`}>
            <ActionIcon
              variant="subtle"
              color={copied ? 'green' : 'gray'}
              size="sm"
              onClick={copy}
              aria-label={copied ? 'Copied' : `Copy the ${label}`}
            >
              {copied ? <IconCheck size={16} aria-hidden /> : <IconCopy size={16} aria-hidden />}
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
    </Group>
  )
}
