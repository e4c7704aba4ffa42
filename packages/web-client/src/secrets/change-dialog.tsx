import { Button, Group, Modal, Stack } from '@mantine/core'
import { type ReactNode, useState } from 'react'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { explainSecret } from './explain-secret.ts'

interface ChangeDialogProps {
  readonly title: string
  /** Words of the button that does it. */
  readonly action: string
  readonly children: ReactNode
  /** Undefined where the form is not filled in rightly; then nothing was done. */
  change(): Promise<unknown> | undefined
  onClose(): void
  onChanged(): void
}

/** Asks before a change of a secret, does it, and says why where it could not be done. */
export function ChangeDialog({ title, action, children, change, onClose, onChanged }: ChangeDialogProps) {
  const [failure, setFailure] = useState<ReturnType<typeof explainSecret>>()
  const [busy, setBusy] = useState(false)
  const finish = () => {
    onChanged()
    onClose()
  }
  const submit = async () => {
    const done = change()
    if (done === undefined) return
    setBusy(true)
    setFailure(undefined)
    try {
      await done
      finish()
    } catch (error) {
      setFailure(explainSecret(error))
      setBusy(false)
    }
  }
  return (
    <Modal opened onClose={onClose} title={title} size="lg">
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
          {/* What the dialog said of the versions holds no longer. */}
          {failure?.isOutOfDate !== true && children}
          <Group justify="end">
            <Button variant="default" onClick={onClose} data-autofocus>
              Cancel
            </Button>
            {failure?.isOutOfDate ? (
              <Button onClick={finish}>Reload</Button>
            ) : (
              <Button type="submit" loading={busy}>
                {action}
              </Button>
            )}
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
