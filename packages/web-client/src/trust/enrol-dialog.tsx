import { Button, Group, Modal, Select, Stack, TagsInput, TextInput } from '@mantine/core'
import { useForm } from '@mantine/form'
import type { NewJoinToken } from '@rap/client-sdk'
import { useState } from 'react'
import { type Explanation, useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { useDialog } from '../shell/use-dialog.ts'
import { explainTrust } from './explain-trust.ts'
import { JoinTokenShown } from './join-token-shown.tsx'
import type { Machine } from './machine.ts'

interface EnrolDialogProps {
  /** A machine that is registered and enrols anew; a new one otherwise. */
  readonly machine: Machine | undefined
  onClose(): void
  onChanged(): void
}

const KINDS = [
  { value: 'worker', label: 'Worker' },
  { value: 'gateway', label: 'Gateway' },
  { value: 'secret-resolver', label: 'Secret-resolver' },
]
const LIVES = [
  { value: '3600', label: 'An hour' },
  { value: '86400', label: 'A day' },
  { value: '604800', label: 'A week' },
]
const LABEL = /^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?=[A-Za-z0-9._:/ -]{0,128}$/

/** Registers a machine's names and makes its join token, which is shown once. */
export function EnrolDialog({ machine, onClose, onChanged }: EnrolDialogProps) {
  const { rap } = useAuth()
  const [made, setMade] = useState<NewJoinToken>()
  const [failure, setFailure] = useState<Explanation>()
  const [busy, setBusy] = useState(false)
  const { close, modal } = useDialog(() => {
    onClose()
    if (made !== undefined) onChanged()
  })
  const identity = machine?.identity
  const form = useForm({
    initialValues: {
      kind: machine?.kind === 'service' ? machine.id : 'worker',
      name: machine?.name ?? '',
      dnsNames: identity?.dns_names ?? [],
      ipAddresses: identity?.ip_addresses ?? [],
      labels: Object.entries(identity?.labels ?? {}).map(([name, value]) => `${name}=${value}`),
      life: '3600',
    },
    validate: {
      name: (value, { kind }) => (kind === 'worker' && value.trim() === '' ? 'Give it a name' : null),
      dnsNames: (value, { ipAddresses }) =>
        value.length + ipAddresses.length === 0 ? 'Give at least one DNS name or IP address' : null,
      labels: value => {
        const wrong = value.find(label => !LABEL.test(label))
        return wrong === undefined ? null : `${wrong}: write labels as name=value`
      },
    },
  })

  const submit = form.onSubmit(async ({ kind, name, dnsNames, ipAddresses, labels, life }) => {
    setBusy(true)
    setFailure(undefined)
    const names = { dnsNames, ipAddresses, ttlSeconds: Number(life) }
    try {
      setMade(
        kind === 'worker'
          ? await rap.workers.createJoinToken({
              ...names,
              name: name.trim(),
              labels: Object.fromEntries(labels.map(splitLabel)),
              ...(machine !== undefined && { workerId: machine.id }),
            })
          : await rap.joinTokens.createForService({ ...names, service: kind as 'gateway' | 'secret-resolver' }),
      )
    } catch (error) {
      setFailure(explainTrust(error))
    } finally {
      setBusy(false)
    }
  })

  if (made !== undefined) {
    return (
      <Modal
        {...modal}
        title={`Join token for ${form.values.kind === 'worker' ? form.values.name : form.values.kind}`}
        size="lg"
        closeOnClickOutside={false}
      >
        <JoinTokenShown made={made} onDone={close} />
      </Modal>
    )
  }
  const isWorker = form.values.kind === 'worker'
  return (
    <Modal {...modal} title={machine === undefined ? 'Enrol a machine' : `Enrol ${machine.name} again`} size="lg">
      <form onSubmit={submit} noValidate autoComplete="off">
        <Stack>
          {failure !== undefined && <FailureAlert failure={failure} />}
          <Select
            label="What it is"
            data={KINDS}
            allowDeselect={false}
            disabled={machine !== undefined}
            {...form.getInputProps('kind')}
          />
          {isWorker && <TextInput label="Name" placeholder="worker-1" data-autofocus {...form.getInputProps('name')} />}
          <TagsInput
            label="DNS names"
            description={
              isWorker
                ? 'What clients will call it. Its certificate is for these and no others, whatever the machine asks for.'
                : 'What the other services will call it, and clients of a gateway.'
            }
            placeholder={isWorker ? 'worker-1.example.com' : `${form.values.kind}.internal`}
            splitChars={[',', ' ']}
            acceptValueOnBlur
            {...form.getInputProps('dnsNames')}
          />
          <TagsInput
            label="IP addresses"
            placeholder="192.0.2.10"
            splitChars={[',', ' ']}
            acceptValueOnBlur
            {...form.getInputProps('ipAddresses')}
          />
          {isWorker && (
            <TagsInput
              label="Labels"
              description="Desktops with the same labels run on it."
              placeholder="site=berlin"
              splitChars={[',']}
              acceptValueOnBlur
              {...form.getInputProps('labels')}
            />
          )}
          <Select
            label="The join token is good for"
            description="It works once. Its certificate is renewed by itself afterwards."
            data={LIVES}
            allowDeselect={false}
            {...form.getInputProps('life')}
          />
          <Group justify="end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={busy}>
              Make the join token
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}

function splitLabel(label: string): [string, string] {
  const at = label.indexOf('=')
  return [label.slice(0, at), label.slice(at + 1)]
}
