import { ActionIcon, Indicator, Tooltip, VisuallyHidden } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { IconClipboardCopy, IconClipboardText } from '@tabler/icons-react'
import { useEffect, useState, useSyncExternalStore } from 'react'
import { sizeText } from '../files/sizes.ts'
import { type LivePolicy, rulesOf } from '../policy/live-policy.ts'
import { ClipboardDialog, type Topic } from './clipboard-dialog.tsx'
import type { ClipboardState, DesktopClipboard, FromDesktop, Pasted, ToDesktop } from './desktop-clipboard.ts'

interface ClipboardButtonsProps {
  /** Undefined where no text may go either way, or before the desktop is up. */
  readonly clipboard: DesktopClipboard | undefined
  readonly policy: LivePolicy | undefined
}

/** What stands between, in the words of a tooltip; nothing where a press just does it. */
const TO_WORDS: Readonly<Record<ToDesktop, string | undefined>> = {
  off: 'off by policy',
  automatic: undefined,
  ask: 'asks your browser first',
  manual: undefined,
  denied: 'your browser keeps the clipboard from this site',
  unsupported: 'by hand in this browser',
}
const FROM_WORDS: Readonly<Record<FromDesktop, string | undefined>> = {
  off: 'off by policy',
  empty: 'nothing was copied there yet',
  copied: undefined,
  waiting: 'a text waits for a click',
}

const OFF: ClipboardState = { toDesktop: 'off', fromDesktop: 'off' }
const unsubscribe = () => undefined

/** "Paste to the desktop" and "Copy from the desktop", and what stands in their way. */
export function ClipboardButtons({ clipboard, policy }: ClipboardButtonsProps) {
  const state = useSyncExternalStore(clipboard?.subscribe ?? (() => unsubscribe), () => clipboard?.state ?? OFF)
  const [topic, setTopic] = useState<Topic>()
  useEffect(() => {
    if (policy !== undefined) clipboard?.setRules(rulesOf(policy))
  }, [clipboard, policy])
  useEffect(() => {
    if (clipboard !== undefined) clipboard.onTooLarge = maxBytes => tell('too_large', maxBytes)
  }, [clipboard])

  const isPastedAtOnce = state.toDesktop === 'automatic' || state.toDesktop === 'manual'
  const isCopiedAtOnce = state.fromDesktop === 'copied' || state.fromDesktop === 'waiting'
  const paste = async () => {
    if (clipboard === undefined || !isPastedAtOnce) return setTopic('to_desktop')
    const pasted = await clipboard.paste()
    if (pasted === 'refused') setTopic('to_desktop')
    else tell(pasted, policy?.limits.clipboard_bytes ?? 0)
  }
  const copy = async () => {
    if (clipboard !== undefined && (await clipboard.copyWaiting())) {
      notifications.show({ message: 'Copied. Paste it wherever you like on this device.', color: 'green' })
    } else setTopic('from_desktop')
  }
  return (
    <>
      <Tooltip label={labelOf('Paste to the desktop', TO_WORDS[state.toDesktop])}>
        <ActionIcon
          variant="subtle"
          color={state.toDesktop === 'automatic' ? 'blue' : 'gray'}
          aria-label="Paste to the desktop"
          aria-description={TO_WORDS[state.toDesktop]}
          aria-haspopup={isPastedAtOnce ? undefined : 'dialog'}
          disabled={policy === undefined}
          data-state={state.toDesktop}
          opacity={state.toDesktop === 'off' ? 0.5 : 1}
          onClick={() => void paste()}
        >
          <IconClipboardText size={18} />
        </ActionIcon>
      </Tooltip>
      <Tooltip label={labelOf('Copy from the desktop', FROM_WORDS[state.fromDesktop])}>
        <Indicator disabled={state.fromDesktop !== 'waiting'} size={8} processing offset={4}>
          <ActionIcon
            variant="subtle"
            color={state.fromDesktop === 'copied' ? 'blue' : 'gray'}
            aria-label="Copy from the desktop"
            aria-description={FROM_WORDS[state.fromDesktop]}
            aria-haspopup={isCopiedAtOnce ? undefined : 'dialog'}
            disabled={policy === undefined}
            data-state={state.fromDesktop}
            opacity={state.fromDesktop === 'off' ? 0.5 : 1}
            onClick={() => void copy()}
          >
            <IconClipboardCopy size={18} />
          </ActionIcon>
        </Indicator>
      </Tooltip>
      {/* The dot, for whoever does not see it. */}
      <VisuallyHidden role="status">
        {state.fromDesktop === 'waiting' && 'A text of the desktop waits: “Copy from the desktop” takes it over.'}
      </VisuallyHidden>
      {topic !== undefined && policy !== undefined && (
        <ClipboardDialog
          topic={topic}
          state={state}
          policy={policy}
          clipboard={clipboard}
          onPasted={pasted => tell(pasted, policy.limits.clipboard_bytes)}
          onClosed={() => setTopic(undefined)}
        />
      )}
    </>
  )
}

function labelOf(name: string, words: string | undefined): string {
  return words === undefined ? name : `${name}: ${words}`
}

/** How a text went to the desktop. INVARIANT: never the text. */
function tell(pasted: Pasted, maxBytes: number): void {
  if (pasted === 'sent' || pasted === 'same')
    notifications.show({ message: 'The desktop has your text. Press Ctrl+V there.', color: 'green' })
  else if (pasted === 'nothing')
    notifications.show({ message: 'There is no text in your clipboard. Only text can be pasted.', color: 'yellow' })
  else if (pasted === 'too_large')
    notifications.show({
      title: 'The text is too large',
      message: `The policy allows ${sizeText(maxBytes)}, which is about ${Math.floor(maxBytes / 2).toLocaleString()} characters.`,
      color: 'yellow',
    })
}
