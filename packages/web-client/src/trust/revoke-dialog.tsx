import { List, Text } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { useAuth } from '../auth/auth.tsx'
import { ChangeDialog } from '../shell/change-dialog.tsx'
import { counted } from '../shell/counted.ts'
import { explainTrust } from './explain-trust.ts'
import type { Machine } from './machine.ts'

interface MachineDialogProps {
  readonly machine: Machine
  onClose(): void
  onChanged(): void
}

/** Asks before a machine is shut out. */
export function RevokeDialog({ machine, ...told }: MachineDialogProps) {
  const { rap } = useAuth()
  const { kind, id, name, worker } = machine
  const live = worker?.live_attachments ?? 0
  const revoke = async () => {
    const { sessions_failed: sessions } =
      kind === 'worker' ? await rap.workers.revoke(id) : await rap.identities.revokeService(id)
    const ended = counted(sessions, 'session')
    notifications.show({ message: `${name} was revoked${ended && `, and ${ended} ended`}`, color: 'green' })
  }
  return (
    <ChangeDialog
      title={`Revoke ${name}?`}
      action="Revoke"
      color="red"
      change={revoke}
      explain={explainTrust}
      {...told}
    >
      <List size="sm" spacing={4}>
        <List.Item>Everybody refuses its certificates within seconds, also after a restart.</List.Item>
        {kind === 'worker' ? (
          <>
            <List.Item>
              {live === 0 ? 'It has no live desktop now.' : `Its live desktops are closed: ${live} now.`} Their users
              are told why, and can start again on another worker.
            </List.Item>
            <List.Item>This cannot be undone: its id is burnt. The machine can enrol as a new worker.</List.Item>
          </>
        ) : (
          <List.Item>No service of this name works until it has enrolled again with a new join token.</List.Item>
        )}
      </List>
      {kind === 'worker' && (
        <Text size="sm" c="dimmed">
          A worker in the wrong hands knew the passwords of the sessions that it logged on: change those too.
        </Text>
      )}
    </ChangeDialog>
  )
}
