import { Button, Group, Modal, Stack, Text } from '@mantine/core'
import type { MasterKey } from '@rap/client-sdk'
import { useState } from 'react'
import { type Explanation, useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { explainKey } from './explain-key.ts'

interface RetireDialogProps {
  readonly masterKey: MasterKey
  onClose(): void
  onChanged(): void
}

/** Asks before a key is ended for good. */
export function RetireDialog({ masterKey: { key_id: keyId }, onClose, onChanged }: RetireDialogProps) {
  const { rap } = useAuth()
  const [failure, setFailure] = useState<Explanation>()
  const [busy, setBusy] = useState(false)
  const retire = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      await rap.masterKeys.retire(keyId)
      onClose()
    } catch (error) {
      setFailure(explainKey(error))
      setBusy(false)
    }
    onChanged()
  }
  return (
    <Modal opened onClose={onClose} title={`Retire ${keyId}?`}>
      <Stack>
        {failure !== undefined && <FailureAlert failure={failure} />}
        <Text size="sm">
          Nothing is wrapped with it. From then on it never becomes active, and its name is not used for another key.
        </Text>
        <Text size="sm">
          Backups of the database from the time when it was needed still need it: keep its material as long as those.
        </Text>
        <Group justify="end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <Button color="red" loading={busy} onClick={() => void retire()}>
            Retire for good
          </Button>
        </Group>
      </Stack>
    </Modal>
  )
}
