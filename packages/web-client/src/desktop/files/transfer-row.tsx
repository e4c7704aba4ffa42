import { ActionIcon, Group, Paper, Text, Tooltip } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import type { Transfer, Transfers } from '@rap/client-sdk'
import { IconFile, IconTrash } from '@tabler/icons-react'
import { memo, useState } from 'react'
import { explain } from '../../auth/auth.tsx'
import { sizeText } from './sizes.ts'
import { FileName } from './upload-row.tsx'

interface TransferRowProps {
  readonly item: Transfer
  /** Undefined where nothing can be changed now. */
  readonly transfers: Transfers | undefined
  /** The person has taken it out. */
  onRemoved(): void
}

/** One file that the worker has. Every list has all of them anew, and few that changed. */
export const TransferRow = memo(function TransferRow({
  item: { upload_id: id, name, size, offset, state },
  transfers,
  onRemoved,
}: TransferRowProps) {
  const [busy, setBusy] = useState(false)
  const remove = async () => {
    setBusy(true)
    try {
      await transfers?.remove(id)
      onRemoved()
    } catch (error) {
      const { title, detail } = explain(error)
      notifications.show({ title, message: detail, color: 'red' })
    }
    setBusy(false)
  }
  return (
    <Paper component="li" withBorder p="xs" data-testid="transfer" data-name={name} data-state={state}>
      <Group justify="space-between" wrap="nowrap" gap="xs">
        <Group gap="xs" wrap="nowrap" miw={0}>
          <IconFile size={18} aria-hidden style={{ flex: 'none' }} />
          <div style={{ minWidth: 0 }}>
            <FileName>{name}</FileName>
            <Text size="xs" c="dimmed">
              {state === 'ready'
                ? sizeText(size)
                : `${sizeText(offset)} of ${sizeText(size)} · not finished. Choose the same file once more to go on.`}
            </Text>
          </div>
        </Group>
        <Tooltip label="Remove from the desktop">
          <ActionIcon
            variant="subtle"
            color="gray"
            size="sm"
            loading={busy}
            disabled={transfers === undefined}
            aria-label={`Remove ${name}`}
            onClick={() => void remove()}
          >
            <IconTrash size={16} />
          </ActionIcon>
        </Tooltip>
      </Group>
    </Paper>
  )
}, isSame)

function isSame(before: TransferRowProps, now: TransferRowProps): boolean {
  const { name, offset, state } = before.item
  return (
    before.transfers === now.transfers &&
    name === now.item.name &&
    offset === now.item.offset &&
    state === now.item.state
  )
}
