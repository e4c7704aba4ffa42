import { Text } from '@mantine/core'
import { useForm } from '@mantine/form'
import { useAuth } from '../auth/auth.tsx'
import { ChangeDialog } from '../shell/change-dialog.tsx'
import { CredentialFields, credentialOf, credentialRules, NO_CREDENTIAL } from './credential-fields.tsx'
import { explainSecret } from './explain-secret.ts'

interface WriteSecretProps {
  readonly resourceId: string
  /** The version in force that is on the page, 0 for none. */
  readonly expectedVersion: number
  onClose(): void
  onChanged(): void
}

/** Writes a new credential over the one in force. */
export function WriteSecret({ resourceId, expectedVersion, onClose, onChanged }: WriteSecretProps) {
  const { rap } = useAuth()
  const form = useForm({ initialValues: NO_CREDENTIAL, validate: credentialRules })
  const change = () => {
    if (form.validate().hasErrors) return undefined
    return rap.resources.setSecret(resourceId, credentialOf(form.values), { expectedVersion })
  }
  return (
    <ChangeDialog
      title="New credential"
      action="Write credential"
      explain={explainSecret}
      {...{ change, onClose, onChanged }}
    >
      <Text size="sm">
        {expectedVersion === 0
          ? 'The next session signs in with it.'
          : `It takes the place of version ${expectedVersion} from the next session on. Sessions that are open go on.`}
      </Text>
      <CredentialFields form={form} />
    </ChangeDialog>
  )
}
