import { Code, Text } from '@mantine/core'
import { useAuth } from '../auth/auth.tsx'
import { ChangeDialog } from '../shell/change-dialog.tsx'
import { explainTrust } from './explain-trust.ts'
import type { Machine } from './machine.ts'

interface TakeBackDialogProps {
  readonly machine: Machine
  onClose(): void
  onChanged(): void
}

/** Asks before one certificate is taken back, whose owner keeps the identity. */
export function TakeBackDialog({ machine, ...told }: TakeBackDialogProps) {
  const { rap } = useAuth()
  const serial = machine.identity?.certificate?.serial ?? ''
  return (
    <ChangeDialog
      title={`Take back the certificate of ${machine.name}?`}
      action="Take back"
      color="red"
      change={() => rap.identities.revokeCertificate(serial)}
      explain={explainTrust}
      {...told}
    >
      <Text size="sm">
        Its newest certificate is refused everywhere within seconds, and what goes on with it ends. The machine keeps
        its identity, and comes back with another certificate or a new join token.
      </Text>
      <Text size="sm">
        Serial number <Code style={{ overflowWrap: 'anywhere' }}>{serial}</Code>
      </Text>
    </ChangeDialog>
  )
}
