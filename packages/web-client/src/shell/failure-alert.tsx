import { Alert, Button, Code, Group, Stack, Text } from '@mantine/core'
import { IconAlertCircle } from '@tabler/icons-react'
import type { Explanation } from '../auth/auth.tsx'

interface FailureAlertProps {
  readonly failure: Explanation
  onRetry?: (() => void) | undefined
  readonly retryLabel?: string
}

/** A failure in words: what happened, what to do, and the code and request id that an administrator asks for. */
export function FailureAlert({ failure, onRetry, retryLabel = 'Try again' }: FailureAlertProps) {
  return (
    <Alert
      color="red"
      icon={<IconAlertCircle aria-hidden />}
      title={failure.title}
      role="alert"
      data-code={failure.code}
    >
      <Stack gap="xs">
        {failure.detail !== '' && <Text size="sm">{failure.detail}</Text>}
        {failure.remedy !== undefined && (
          <Text size="sm" fw={500}>
            {failure.remedy}
          </Text>
        )}
        <Group justify="space-between">
          <Text size="xs" c="dimmed">
            <Code>{failure.code}</Code>
            {failure.requestId !== undefined && <> · request {failure.requestId}</>}
          </Text>
          {onRetry !== undefined && (
            <Button size="xs" variant="light" color="red" onClick={onRetry}>
              {retryLabel}
            </Button>
          )}
        </Group>
      </Stack>
    </Alert>
  )
}
