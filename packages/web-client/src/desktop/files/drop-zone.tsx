import { Center, Stack, Text, ThemeIcon } from '@mantine/core'
import { IconBan, IconFileUpload } from '@tabler/icons-react'
import { useEffect, useState } from 'react'
import { bringsFiles, type Dropped, droppedOf } from './dropped.ts'

interface DropZoneProps {
  /** Why nothing may be dropped; undefined where it may. */
  readonly refusal: string | undefined
  onDrop(dropped: Dropped): void
}

/** Shown over the desktop while a file is dragged over the page. */
export function DropZone({ refusal, onDrop }: DropZoneProps) {
  const isOver = useDrop(dropped => refusal === undefined && onDrop(dropped))
  if (!isOver) return null
  const isRefused = refusal !== undefined
  return (
    <Center
      pos="absolute"
      inset={0}
      p="md"
      data-testid="drop-zone"
      style={{
        zIndex: 30,
        pointerEvents: 'none',
        background: 'rgb(16 17 19 / 80%)',
        border: `3px dashed var(--mantine-color-${isRefused ? 'red' : 'blue'}-5)`,
      }}
    >
      <Stack align="center" gap="xs">
        <ThemeIcon size={64} radius="xl" color={isRefused ? 'red' : 'blue'}>
          {isRefused ? <IconBan size={36} aria-hidden /> : <IconFileUpload size={36} aria-hidden />}
        </ThemeIcon>
        <Text c="white" fw={600} size="lg" ta="center">
          {refusal ?? 'Drop files to send them to RAP_Transfers'}
        </Text>
      </Stack>
    </Center>
  )
}

/** Whether files are over the page. A drop on anything, dialogs and notices too, is taken: the browser would leave the page for the file. */
function useDrop(onDrop: (dropped: Dropped) => void): boolean {
  const [depth, setDepth] = useState(0)
  useEffect(() => {
    const abort = new AbortController()
    const on = (type: 'dragenter' | 'dragover' | 'dragleave' | 'drop', handle: (data: DataTransfer) => void) =>
      window.addEventListener(
        type,
        event => {
          if (event.dataTransfer === null || !bringsFiles(event.dataTransfer)) return
          event.preventDefault()
          handle(event.dataTransfer)
        },
        { signal: abort.signal },
      )
    // Each element on the way is entered and left by itself.
    on('dragenter', () => setDepth(count => count + 1))
    on('dragleave', () => setDepth(count => Math.max(0, count - 1)))
    on('dragover', data => {
      data.dropEffect = 'copy'
    })
    on('drop', data => {
      setDepth(0)
      onDrop(droppedOf(data))
    })
    return () => abort.abort()
  })
  return depth > 0
}
