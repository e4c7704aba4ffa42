import { Group, PasswordInput, Text, TextInput } from '@mantine/core'
import type { UseFormReturnType } from '@mantine/form'

/** An account to sign in with on a desktop, as a form holds it. */
export interface CredentialValues {
  username: string
  domain: string
  password: string
}

export const NO_CREDENTIAL: CredentialValues = { username: '', domain: '', password: '' }

/** Rules of a form that has these fields. */
export const credentialRules = {
  username: (value: string) => (value.trim() === '' ? 'Enter the account to sign in with' : null),
  password: (value: string) => (value === '' ? 'Enter the password of that account' : null),
}

/** What is sealed and sent of them. */
export function credentialOf({ username, domain, password }: CredentialValues): CredentialValues {
  return { username: username.trim(), domain: domain.trim(), password }
}

/** The fields of a credential, and what becomes of it. */
export function CredentialFields<T extends CredentialValues>({ form }: { form: UseFormReturnType<T> }) {
  return (
    <>
      <Group grow align="start">
        <TextInput label="Account" autoComplete="off" data-autofocus {...form.getInputProps('username')} />
        <TextInput
          label="Domain"
          description="Empty for a local account"
          inputWrapperOrder={['label', 'input', 'description', 'error']}
          {...form.getInputProps('domain')}
        />
      </Group>
      <PasswordInput label="Password" autoComplete="new-password" {...form.getInputProps('password')} />
      <Text size="xs" c="dimmed">
        Account and password are encrypted in this browser for the secret resolver alone.
      </Text>
    </>
  )
}
