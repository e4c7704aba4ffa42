import {
  Alert,
  Box,
  Button,
  CloseButton,
  Code,
  FileButton,
  Group,
  Paper,
  ScrollArea,
  Stack,
  Text,
  Title,
} from '@mantine/core'
import type { Transfer } from '@rap/client-sdk'
import { IconFileUpload, IconFolder } from '@tabler/icons-react'
import { type ComponentProps, useCallback, useEffect, useRef } from 'react'
import { FailureAlert } from '../../shell/failure-alert.tsx'
import { explained, type LivePolicy } from '../policy/live-policy.ts'
import type { SideConnection } from '../side-connection.ts'
import { useSide } from '../use-side.ts'
import { kindsText, usedBy } from './local-refusal.ts'
import { sizeText } from './sizes.ts'
import { TransferRow } from './transfer-row.tsx'
import { UploadRow } from './upload-row.tsx'
import type { FileSending } from './use-uploads.ts'

interface FilesPanelProps {
  readonly side: SideConnection
  readonly policy: LivePolicy
  readonly sending: FileSending
  onClose(): void
}

const LIST = { listStyle: 'none', margin: 0, padding: 0 } as const

/** The files of this session: on their way, and those that the desktop has. */
export function FilesPanel({ side, policy, sending, onClose }: FilesPanelProps) {
  const state = useSide(side)
  const isAllowed = policy.channels.has('file_upload')
  const title = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    const before = document.activeElement
    title.current?.focus()
    return () => {
      if (before instanceof HTMLElement) before.focus({ preventScroll: true })
    }
  }, [])
  // A line that goes takes the focus with it, and the next key would be the desktop's.
  const keepFocus = useCallback(() => {
    const { activeElement } = document
    const isOurs = activeElement === document.body || title.current?.closest('aside')?.contains(activeElement)
    if (isOurs) title.current?.focus()
  }, [])
  const { cancel, retry } = sending
  const onCancel = useCallback(
    (id: string) => {
      cancel(id)
      keepFocus()
    },
    [cancel, keepFocus],
  )
  const onRetry = useCallback(
    (id: string) => {
      retry(id)
      keepFocus()
    },
    [retry, keepFocus],
  )
  const own = new Set(sending.list.map(({ id }) => id))
  const items = state.items.filter(({ upload_id }) => !own.has(upload_id))
  const ready = items.filter(({ state }) => state === 'ready')
  const unfinished = items.filter(({ state }) => state !== 'ready')
  const transfers = isAllowed ? side.transfers : undefined
  const isEmpty = items.length === 0 && sending.list.length === 0
  return (
    <Box
      component="aside"
      aria-labelledby="files-title"
      pos="absolute"
      top={0}
      right={0}
      bottom={0}
      w="min(400px, 100%)"
      bg="var(--mantine-color-body)"
      data-testid="files"
      style={{ zIndex: 20, boxShadow: 'var(--mantine-shadow-xl)', display: 'flex', flexDirection: 'column' }}
      onKeyDown={event => {
        if (event.key !== 'Escape') return
        event.stopPropagation()
        onClose()
      }}
    >
      <Group justify="space-between" p="sm" pb="xs" wrap="nowrap">
        <Title order={2} size="h4" id="files-title" ref={title} tabIndex={-1} style={{ outline: 'none' }}>
          Files
        </Title>
        <CloseButton aria-label="Close files" onClick={onClose} />
      </Group>
      <ScrollArea style={{ flex: 1 }} px="sm" type="auto" scrollbars="y">
        <Stack gap="sm" pb="sm">
          {isAllowed ? (
            <Choose policy={policy} state={state} sending={sending} />
          ) : (
            <Alert color="gray" title={explained('file_upload', policy)} />
          )}
          {state.failure !== undefined && <FailureAlert failure={state.failure} onRetry={() => void side.open()} />}
          {state.isLost && (
            <Text size="sm" c="orange" role="status">
              The connection was lost. Files go on by themselves when it is back.
            </Text>
          )}
          {sending.list.length > 0 && (
            <Stack component="ul" gap="xs" style={LIST} aria-label="On their way">
              {sending.list.map(upload => (
                <UploadRow
                  key={upload.id}
                  upload={upload}
                  isLost={state.isLost}
                  onCancel={onCancel}
                  onRetry={onRetry}
                />
              ))}
            </Stack>
          )}
          <Transfers title="Begun, and not finished" items={unfinished} transfers={transfers} onRemoved={keepFocus} />
          <Transfers title="In RAP_Transfers" items={ready} transfers={transfers} onRemoved={keepFocus} />
          {isAllowed && (isEmpty || !state.driveMounted) && <WhereTheyAre isMounted={state.driveMounted} />}
        </Stack>
      </ScrollArea>
    </Box>
  )
}

interface TransfersProps {
  readonly title: string
  readonly items: readonly Transfer[]
  readonly transfers: ComponentProps<typeof TransferRow>['transfers']
  onRemoved(): void
}

/** Some of what the worker has. */
function Transfers({ title, items, transfers, onRemoved }: TransfersProps) {
  if (items.length === 0) return null
  return (
    <>
      <Title order={3} size="h6">
        {title}
      </Title>
      <Stack component="ul" gap="xs" style={LIST} aria-label={title}>
        {items.map(item => (
          <TransferRow key={item.upload_id} item={item} transfers={transfers} onRemoved={onRemoved} />
        ))}
      </Stack>
    </>
  )
}

interface ChooseProps extends Pick<FilesPanelProps, 'policy' | 'sending'> {
  readonly state: ReturnType<typeof useSide>
}

/** The button for those who do not drag, and what may be sent. */
function Choose({ policy: { limits }, state, sending }: ChooseProps) {
  const used = usedBy(
    state.items,
    sending.list.filter(({ state }) => state !== 'failed'),
  )
  const { upload_extensions: kinds } = limits
  const reset = useRef<() => void>(null)
  return (
    <Stack gap={4}>
      <FileButton
        multiple
        resetRef={reset}
        onChange={files => {
          sending.send({ files, folders: [] })
          // So that the same file can be chosen again.
          reset.current?.()
        }}
      >
        {props => (
          <Button {...props} leftSection={<IconFileUpload size={16} aria-hidden />} disabled={state.step !== 'open'}>
            Choose files
          </Button>
        )}
      </FileButton>
      <Text size="xs" c="dimmed" data-testid="upload-limits">
        Or drop them on the desktop. Up to {sizeText(limits.upload_file_bytes)} each ·{' '}
        {sizeText(Math.max(0, limits.upload_session_bytes - used.bytes))} left · {used.files.toLocaleString()} of{' '}
        {limits.upload_files.toLocaleString()} files
        {kinds !== null && <> · only {kindsText(kinds)}</>}
      </Text>
    </Stack>
  )
}

function WhereTheyAre({ isMounted }: { isMounted: boolean }) {
  return (
    <Paper withBorder p="sm">
      <Stack gap={6}>
        <Group gap="xs" wrap="nowrap">
          <IconFolder size={20} aria-hidden />
          <Text size="sm" fw={500}>
            Where do they appear?
          </Text>
        </Group>
        <Text size="sm">
          On the desktop, in the drive <b>RAP_Transfers</b>: on Windows under “This PC”, or <Code>\\tsclient</Code>; on
          Linux below <Code>~/thinclient_drives</Code>, where xrdp shortens it to <Code>RAP_Tra</Code>. It can be read
          there, not written: copy what you want to keep, for it is emptied when the session ends. Nothing comes back
          this way.
        </Text>
        {!isMounted && (
          <Text size="sm" c="dimmed">
            This desktop has not opened the drive yet. Some do so only after somebody has signed in, and some have no
            drives at all.
          </Text>
        )}
      </Stack>
    </Paper>
  )
}
