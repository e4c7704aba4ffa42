import { ActionIcon, Group, Paper, Progress, Stack, Text, Tooltip } from '@mantine/core'
import { IconRefresh, IconX } from '@tabler/icons-react'
import { memo } from 'react'
import { sizeText, timeText } from './sizes.ts'
import type { Upload } from './uploads.ts'

interface UploadRowProps {
  readonly upload: Upload
  /** The connection is looked for. */
  readonly isLost: boolean
  onCancel(id: string): void
  onRetry(id: string): void
}

/** One file on its way, or the reason why it is not. Drawn when it changes, and not with each of hundreds beside it. */
export const UploadRow = memo(function UploadRow({
  upload: { id, name, size, sent, state, isHere, failure, ...rest },
  isLost,
  onCancel,
  onRetry,
}: UploadRowProps) {
  const percent = size === 0 ? 0 : Math.floor((sent / size) * 100)
  return (
    <Paper
      component="li"
      withBorder
      p="xs"
      data-testid="upload"
      data-name={name}
      data-state={state}
      data-code={failure?.code}
    >
      <Stack gap={6}>
        <Group justify="space-between" wrap="nowrap" gap="xs">
          <FileName>{name}</FileName>
          <Group gap={2} wrap="nowrap">
            {failure !== undefined && isHere && (
              <Tooltip label="Try again">
                <ActionIcon variant="subtle" size="sm" aria-label={`Send ${name} again`} onClick={() => onRetry(id)}>
                  <IconRefresh size={16} />
                </ActionIcon>
              </Tooltip>
            )}
            <Tooltip label={failure === undefined ? 'Cancel' : 'Take off the list'}>
              <ActionIcon
                variant="subtle"
                color="gray"
                size="sm"
                aria-label={failure === undefined ? `Cancel ${name}` : `Take ${name} off the list`}
                onClick={() => onCancel(id)}
              >
                <IconX size={16} />
              </ActionIcon>
            </Tooltip>
          </Group>
        </Group>
        {failure === undefined ? (
          <>
            <Progress.Root size="sm">
              <Progress.Section
                value={percent}
                animated={state === 'sending' && !isLost}
                aria-label={`${name}, sent`}
              />
            </Progress.Root>
            <Text size="xs" c="dimmed">
              {progressText({ size, sent, state, ...rest }, isLost)}
            </Text>
          </>
        ) : (
          <Text size="sm" c="red">
            {failure.detail || failure.title} {failure.remedy}
          </Text>
        )}
      </Stack>
    </Paper>
  )
})

/** A name in one line; hostile ones do not turn the direction of what stands beside them. */
export function FileName({ children }: { children: string }) {
  return (
    <Text size="sm" fw={500} truncate title={children} component="bdi" display="block" miw={0}>
      {children}
    </Text>
  )
}

function progressText(
  { size, sent, state, bytesPerSecond }: Pick<Upload, 'size' | 'sent' | 'state' | 'bytesPerSecond'>,
  isLost: boolean,
) {
  if (state === 'waiting') return `${sizeText(size)} · waiting`
  const parts = [`${sizeText(sent)} of ${sizeText(size)}`]
  if (isLost) parts.push('waiting for the connection')
  else if (sent === size) parts.push('checking')
  else if (bytesPerSecond !== undefined && bytesPerSecond > 0) {
    parts.push(`${sizeText(bytesPerSecond)}/s`, `${timeText((size - sent) / bytesPerSecond)} left`)
  }
  return parts.join(' · ')
}
