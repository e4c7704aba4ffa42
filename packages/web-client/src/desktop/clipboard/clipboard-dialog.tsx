import { Alert, Button, Group, List, Modal, Stack, Text, Textarea } from '@mantine/core'
import { type RefObject, useRef, useState } from 'react'
import { useDialog } from '../../shell/use-dialog.ts'
import { explained, type LivePolicy } from '../policy/live-policy.ts'
import type { ClipboardState, DesktopClipboard, Pasted } from './desktop-clipboard.ts'

export type Topic = 'to_desktop' | 'from_desktop'

interface ClipboardDialogProps {
  readonly topic: Topic
  readonly state: ClipboardState
  readonly policy: LivePolicy
  readonly clipboard: DesktopClipboard | undefined
  onPasted(pasted: Pasted): void
  onClosed(): void
}

/** Says what stands between the two clipboards, and offers the way that is open. */
export function ClipboardDialog({ topic, state, policy, clipboard, onPasted, onClosed }: ClipboardDialogProps) {
  const { close, modal } = useDialog(onClosed)
  const done = (pasted: Pasted) => {
    if (pasted === 'refused') return
    onPasted(pasted)
    if (pasted !== 'too_large' && pasted !== 'nothing') close()
  }
  return (
    <Modal {...modal} title={topic === 'to_desktop' ? 'Paste to the desktop' : 'Copy from the desktop'} size="md">
      <Stack data-testid="clipboard-dialog">
        {topic === 'from_desktop' ? (
          <FromDesktop state={state} policy={policy} />
        ) : (
          <ToDesktop state={state} policy={policy} clipboard={clipboard} onDone={done} />
        )}
        <Group justify="end">
          <Button variant="default" onClick={close}>
            Close
          </Button>
        </Group>
      </Stack>
    </Modal>
  )
}

function FromDesktop({ state, policy }: Pick<ClipboardDialogProps, 'state' | 'policy'>) {
  if (state.fromDesktop === 'off') return <Text>{explained('clipboard_server_to_client', policy)}</Text>
  if (state.waiting !== undefined)
    return (
      <>
        <Text>
          The browser did not let this page write to your clipboard. Click “Copy from the desktop” again, or allow it in
          the settings of this site, which open beside its address.
        </Text>
        {/* A copy by the person's own hand needs no permission, in any browser. */}
        <Textarea
          data-autofocus
          label="Or copy it here"
          description="Ctrl+C, or “Copy” of the menu; on a Mac ⌘C."
          rows={4}
          readOnly
          value={state.waiting}
          onFocus={event => event.currentTarget.select()}
        />
      </>
    )
  return (
    <Text>
      Copy a text on the desktop, for example with Ctrl+C: it goes to your clipboard by itself. Where the browser wants
      a click for that, a dot shows on this button.
    </Text>
  )
}

interface ToDesktopProps extends Pick<ClipboardDialogProps, 'state' | 'policy' | 'clipboard'> {
  onDone(pasted: Pasted): void
}

function ToDesktop({ state, policy, clipboard, onDone }: ToDesktopProps) {
  const field = useRef<HTMLTextAreaElement>(null)
  const [isRefused, setRefused] = useState(false)
  if (state.toDesktop === 'off' || clipboard === undefined)
    return <Text>{explained('clipboard_client_to_server', policy)}</Text>
  const ask = async () => {
    const pasted = await clipboard.paste()
    setRefused(pasted === 'refused')
    // The button that was pressed may be gone.
    if (pasted === 'refused') field.current?.focus()
    onDone(pasted)
  }
  return (
    <>
      <Reason state={state} onAsk={ask} />
      {isRefused && (
        <Alert color="yellow" role="alert">
          The browser did not give the text to this page. It can be pasted below.
        </Alert>
      )}
      <ByHand ref={field} isFirst={state.toDesktop !== 'ask'} clipboard={clipboard} onDone={onDone} />
    </>
  )
}

function Reason({ state, onAsk }: Pick<ToDesktopProps, 'state'> & { onAsk(): Promise<void> }) {
  switch (state.toDesktop) {
    case 'ask':
      return (
        <>
          <Text>
            Your browser will ask whether this site may see your clipboard. If you allow it, a text that you copied is
            on the desktop’s clipboard as soon as you come back to it, and Ctrl+V there pastes it.
          </Text>
          <Text size="sm" c="dimmed">
            Only text goes over, and only to the desktop that is open. You can take the permission back at any time,
            beside the address of this page.
          </Text>
          <Group>
            <Button data-autofocus onClick={() => void onAsk()}>
              Ask the browser
            </Button>
          </Group>
        </>
      )
    case 'denied':
      return (
        <>
          <Text fw={500}>Your browser keeps the clipboard from this site.</Text>
          <List size="sm">
            <List.Item>Click the icon beside the address of this page, and open the permissions of the site.</List.Item>
            <List.Item>Set “Clipboard” to “Allow”. It holds at once.</List.Item>
          </List>
        </>
      )
    case 'unsupported':
      return <Text>This browser gives no page the text of your clipboard by itself.</Text>
    default:
      return <Text>The browser asks each time whether this page may read your clipboard, or it just refused.</Text>
  }
}

interface ByHandProps extends Pick<ToDesktopProps, 'onDone'> {
  readonly ref: RefObject<HTMLTextAreaElement | null>
  readonly clipboard: DesktopClipboard
  /** Nothing in front of it is to be pressed first. */
  readonly isFirst: boolean
}

/** A paste by the person's own hand needs no permission, in any browser. */
function ByHand({ ref, isFirst, clipboard, onDone }: ByHandProps) {
  const [text, setText] = useState('')
  return (
    <>
      <Textarea
        ref={ref}
        data-autofocus={isFirst || undefined}
        label="Or paste it here"
        description="Ctrl+V, or “Paste” of the menu; on a Mac ⌘V."
        rows={4}
        value={text}
        autoComplete="off"
        spellCheck={false}
        onChange={event => setText(event.currentTarget.value)}
      />
      <Group justify="end">
        <Button variant="light" disabled={text === ''} onClick={() => void clipboard.offer(text).then(onDone)}>
          Send to the desktop
        </Button>
      </Group>
    </>
  )
}
