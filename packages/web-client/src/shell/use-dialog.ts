import { useEffect, useState } from 'react'

/**
 * The life of a dialog that its parent mounts: it opens then, and when it has closed `onClosed` lets the parent unmount it.
 * In between, Mantine puts the focus back to where it was.
 */
export function useDialog(onClosed: () => void) {
  const [opened, setOpened] = useState(false)
  useEffect(() => setOpened(true), [])
  const close = () => setOpened(false)
  return { close, modal: { opened, onClose: close, onExitTransitionEnd: onClosed } }
}
