import { Button, Group, Modal, Select, Stack, Textarea, TextInput } from '@mantine/core'
import { useForm } from '@mantine/form'
import { notifications } from '@mantine/notifications'
import { useState } from 'react'
import { type Explanation, explain, useAuth } from '../auth/auth.tsx'
import { CredentialFields, credentialOf, credentialRules, NO_CREDENTIAL } from '../secrets/credential-fields.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { plainFingerprint } from '../targets/explain-target.ts'
import { MODES } from '../targets/modes.ts'

interface NewResourceProps {
  readonly opened: boolean
  readonly organizationId: string
  onClose(): void
  onCreated(): void
}

/** Adds a desktop and its credential. The credential is sealed in the browser: the control plane cannot read it. */
export function NewResource({ opened, organizationId, onClose, onCreated }: NewResourceProps) {
  const { rap } = useAuth()
  const [failure, setFailure] = useState<Explanation>()
  const [busy, setBusy] = useState(false)
  const form = useForm({
    initialValues: { name: '', address: '', mode: 'strict', pin: '', ...NO_CREDENTIAL },
    validate: {
      name: value => (value.trim() === '' ? 'Give it a name' : null),
      address: value => (value.trim() === '' ? 'Enter host or host:port' : null),
      pin: (value, { mode }) =>
        mode !== 'pinned' || value.trim() === '' || plainFingerprint(value) !== undefined
          ? null
          : 'Enter the 64 hexadecimal digits of the SHA-256 fingerprint',
      ...credentialRules,
    },
  })

  const submit = form.onSubmit(async values => {
    setBusy(true)
    setFailure(undefined)
    try {
      const address = values.address.trim()
      const pin = values.mode === 'pinned' ? plainFingerprint(values.pin) : undefined
      const resource = await rap.resources.create({
        organizationId,
        name: values.name.trim(),
        protocol: 'rdp',
        address: /:\d+$/.test(address) ? address : `${address}:3389`,
        metadata: {
          certificate_verification_mode: values.mode,
          ...(pin === undefined ? {} : { certificate_pins: [pin] }),
        },
      })
      await rap.resources.setSecret(resource.id, credentialOf(values))
      notifications.show({ message: `${resource.name} was added`, color: 'green' })
      form.reset()
      onCreated()
      onClose()
    } catch (error) {
      setFailure(explain(error))
    } finally {
      setBusy(false)
    }
  })

  return (
    <Modal opened={opened} onClose={onClose} title="Add desktop" size="lg">
      <form onSubmit={submit} noValidate autoComplete="off">
        <Stack>
          {failure !== undefined && <FailureAlert failure={failure} />}
          <TextInput label="Name" placeholder="Accounting" data-autofocus {...form.getInputProps('name')} />
          <TextInput label="Address" placeholder="rdp.example.internal:3389" {...form.getInputProps('address')} />
          <Select
            label="What vouches for it"
            description="A desktop whose certificate does not hold is never sent a password."
            data={MODES.map(({ value, label }) => ({ value, label }))}
            allowDeselect={false}
            {...form.getInputProps('mode')}
          />
          {form.values.mode === 'pinned' && (
            <Textarea
              label="SHA-256 fingerprint"
              description="Leave it empty to approve the first certificate once it was seen."
              autosize
              placeholder="AA:BB:…"
              {...form.getInputProps('pin')}
            />
          )}
          <CredentialFields form={form} />
          <Group justify="end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={busy}>
              Add desktop
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
