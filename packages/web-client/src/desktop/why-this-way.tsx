import { Button, Code, CopyButton, Group, Stack, Text } from '@mantine/core'
import type { Trace } from '@rap/client-sdk'
import { IconCheck, IconCopy } from '@tabler/icons-react'

/** Why a desktop is reached the way it is: a sentence, and every step for whoever looks for a fault. */
export function WhyThisWay({ trace }: { trace: Trace }) {
  return (
    <Stack gap="xs" data-testid="trace">
      <Text size="sm">{trace.explain()}</Text>
      <Code block style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
        {String(trace)}
      </Code>
      <Group justify="end">
        <CopyButton value={JSON.stringify(trace, null, 2)}>
          {({ copied, copy }) => (
            <Button
              size="compact-xs"
              variant="default"
              leftSection={copied ? <IconCheck size={14} aria-hidden /> : <IconCopy size={14} aria-hidden />}
              onClick={copy}
            >
              {copied ? 'Copied' : 'Copy for an administrator'}
            </Button>
          )}
        </CopyButton>
      </Group>
    </Stack>
  )
}
