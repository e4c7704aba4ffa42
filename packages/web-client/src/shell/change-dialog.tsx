import { Button, Group, Modal, Stack } from '@mantine/core'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import type { Explanation } from '../auth/auth.tsx'
import { FailureAlert } from './failure-alert.tsx'
import { useDialog } from './use-dialog.ts'

/** A failure in words, and whether the page has to be loaded again before another try. */
export interface ChangeFailure extends Explanation {
  readonly isOutOfDate: boolean
}

interface ChangeDialogProps {
  readonly title: string
  /** Words of the button that does it. */
  readonly action: string
  /** The button is red where nothing brings back what it ends. */
  readonly color?: string
  readonly children: ReactNode
  /** Undefined where the form is not filled in rightly; then nothing was done. */
  change(): Promise<unknown> | undefined
  explain(error: unknown): ChangeFailure
  onClose(): void
  /** Something was changed, here or by somebody else. */
  onChanged(): void
}

/** Asks before a change, does it, and says why where it could not be done. */
export function ChangeDialog({ title, action, color, children, change, explain, ...told }: ChangeDialogProps) {
  const [failure, setFailure] = useState<ChangeFailure>()
  const [busy, setBusy] = useState(false)
  const [changed, setChanged] = useState(false)
  const button = useRef<HTMLButtonElement>(null)
  // The page is loaded again when the dialog is gone, so that its words do not change under the eye.
  const { close, modal } = useDialog(() => {
    told.onClose()
    if (changed) told.onChanged()
  })
  // A button that is busy loses the focus, and with it a keyboard its place.
  useEffect(() => {
    if (failure !== undefined) button.current?.focus()
  }, [failure])

  const finish = () => {
    setChanged(true)
    close()
  }
  const submit = async () => {
    if (failure?.isOutOfDate) return finish()
    const done = change()
    if (done === undefined) return
    setBusy(true)
    setFailure(undefined)
    try {
      await done
      finish()
    } catch (error) {
      setFailure(explain(error))
      setBusy(false)
    }
  }
  return (
    <Modal {...modal} title={title} size="lg">
      <form
        noValidate
        autoComplete="off"
        onSubmit={event => {
          event.preventDefault()
          void submit()
        }}
      >
        <Stack>
          {failure !== undefined && <FailureAlert failure={failure} />}
          {/* What it says and asks for is of a page that holds no longer. */}
          {failure?.isOutOfDate !== true && children}
          <Group justify="end">
            <Button variant="default" onClick={close} data-autofocus>
              Cancel
            </Button>
            <Button type="submit" loading={busy} ref={button} {...(color !== undefined && { color })}>
              {failure?.isOutOfDate ? 'Reload' : action}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
