import { Text } from '@mantine/core'
import type { SecretVersion } from '@rap/client-sdk'
import { useAuth } from '../auth/auth.tsx'
import { ChangeDialog } from '../shell/change-dialog.tsx'
import { Moment } from '../shell/moment.tsx'
import { explainSecret } from './explain-secret.ts'

interface RestoreVersionProps {
  readonly resourceId: string
  readonly version: SecretVersion
  /** The version in force that is on the page, 0 for none. */
  readonly expectedVersion: number
  /** The number that the restored content gets. */
  readonly nextVersion: number
  onClose(): void
  onChanged(): void
}

/** Says what a rollback does, and does it. */
export function RestoreVersion({ resourceId, version: old, nextVersion, ...rest }: RestoreVersionProps) {
  const { rap } = useAuth()
  const { expectedVersion, onClose, onChanged } = rest
  const change = () => rap.resources.rollbackSecret(resourceId, old.version, { expectedVersion })
  return (
    <ChangeDialog
      title={`Restore version ${old.version}?`}
      action={`Restore version ${old.version}`}
      explain={explainSecret}
      {...{ change, onClose, onChanged }}
    >
      <Text size="sm">
        The account and password of version {old.version}, written <Moment at={old.created_at} />, come into force as
        version {nextVersion}. Nobody gets to see them.
      </Text>
      <Text size="sm">
        The next session signs in with them; sessions that are open go on.
        {expectedVersion > 0 && ` Version ${expectedVersion} stays in the history until its time there is over.`}
      </Text>
    </ChangeDialog>
  )
}
