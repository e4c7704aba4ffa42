import { Text } from '@mantine/core'
import type { MasterKey } from '@rap/client-sdk'
import { useAuth } from '../auth/auth.tsx'
import { ChangeDialog } from '../shell/change-dialog.tsx'
import { explainKey } from './explain-key.ts'

interface RetireDialogProps {
  readonly masterKey: MasterKey
  onClose(): void
  onChanged(): void
}

/** Asks before a key is ended for good. */
export function RetireDialog({ masterKey: { key_id: keyId }, onClose, onChanged }: RetireDialogProps) {
  const { rap } = useAuth()
  return (
    <ChangeDialog
      title={`Retire ${keyId}?`}
      action="Retire for good"
      color="red"
      change={() => rap.masterKeys.retire(keyId)}
      explain={explainKey}
      {...{ onClose, onChanged }}
    >
      <Text size="sm">
        Nothing is wrapped with it. From then on it never becomes active, and its name is not used for another key.
      </Text>
      <Text size="sm">
        Backups of the database from the time when it was needed still need it: keep its material as long as those.
      </Text>
    </ChangeDialog>
  )
}
