import { Alert, Button, Card, Group, SimpleGrid, Stack, Text, Title } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import {
  CHANNELS,
  decidePolicy,
  isRdpChannel,
  NUMBER_LIMITS,
  type PolicyDocument,
  type PolicyLayers,
  type PolicyScope,
} from '@rap/session-policy'
import { IconAlertTriangle } from '@tabler/icons-react'
import { useEffect, useRef, useState } from 'react'
import { ChangeDialog, type ChangeFailure } from '../shell/change-dialog.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { ChannelFields } from './channel-fields.tsx'
import { doneText } from './done-text.ts'
import { explainPolicy } from './explain-policy.ts'
import { LimitFields } from './limit-fields.tsx'
import { documentOf, formOf, mistakeOf, type PolicyForm } from './policy-form.ts'
import { Result } from './result.tsx'

interface PolicyEditorProps {
  readonly scope: PolicyScope
  readonly document: PolicyDocument
  /** What the scopes above say. */
  readonly above: PolicyLayers
  readonly canManage: boolean
  /** Writes the document; undefined takes the policy away. Answers how many open sessions it changed. */
  save(document: PolicyDocument | undefined): Promise<number>
  /** It was changed, here or by somebody else: it has to be loaded again. */
  onChanged(): void
}

/** The policy of one scope, and what it comes to while it is edited. */
export function PolicyEditor({ scope, document, above, canManage, save, onChanged }: PolicyEditorProps) {
  const [form, setForm] = useState<PolicyForm>(() => formOf(document, scope))
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<ChangeFailure>()
  const [removing, setRemoving] = useState(false)
  const failed = useRef<HTMLDivElement>(null)
  // The page is longer than most windows.
  useEffect(() => {
    if (failure !== undefined) failed.current?.scrollIntoView({ block: 'nearest' })
  }, [failure])
  const edited = documentOf(form)
  const isChanged = JSON.stringify(edited) !== JSON.stringify(documentOf(formOf(document, scope)))
  const isWrong = NUMBER_LIMITS.some(name => mistakeOf(name, form.limits[name]) !== undefined)
  const isThere = Object.keys(document).length > 0
  const decision = decidePolicy(isWrong ? above : { ...above, [scope]: edited })
  const change = (part: Partial<PolicyForm>) => setForm(current => ({ ...current, ...part }))

  const write = async (next: PolicyDocument | undefined) => {
    const sessions = await save(next)
    const layers = { before: { ...above, [scope]: document }, after: { ...above, [scope]: next ?? {} } }
    notifications.show({ title: 'The policy is in force', message: doneText(sessions, layers), color: 'green' })
  }
  const submit = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      await write(edited)
      onChanged()
    } catch (error) {
      setFailure(explainPolicy(error))
    } finally {
      setBusy(false)
    }
  }
  return (
    <Stack data-testid={`policy-${scope}`}>
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <Card withBorder>
          <Stack>
            <Title order={4}>Channels</Title>
            <ChannelFields {...{ scope, above, form }} disabled={!canManage} onChange={change} />
          </Stack>
        </Card>
        <Card withBorder>
          <Stack>
            <Title order={4}>Limits</Title>
            <LimitFields {...{ scope, above, form }} disabled={!canManage} onChange={change} />
          </Stack>
        </Card>
      </SimpleGrid>
      <Card withBorder style={{ overflowX: 'auto' }}>
        <Result decision={decision} />
      </Card>
      {!CHANNELS.some(channel => isRdpChannel(channel) && decision.channels[channel].allowed) && (
        <Alert color="yellow" icon={<IconAlertTriangle aria-hidden />} title="No session can be started like this">
          Picture, keyboard and mouse, and the clipboard are all off: nothing of the desktop is left.
        </Alert>
      )}
      {failure !== undefined && (
        <div ref={failed}>
          <FailureAlert failure={failure} {...(failure.isOutOfDate && { onRetry: onChanged, retryLabel: 'Reload' })} />
        </div>
      )}
      {canManage && (
        <Group justify="space-between">
          <Text size="sm" c="dimmed" flex="1 1 20rem">
            What is turned off ends in open sessions within seconds, and new limits hold there too. What is turned on
            counts from the next connection.
          </Text>
          <Group gap="xs">
            {isThere && (
              <Button variant="default" disabled={busy} onClick={() => setRemoving(true)}>
                {scope === 'organization' ? 'Back to the default…' : 'Take this policy away…'}
              </Button>
            )}
            <Button disabled={!isChanged || isWrong} loading={busy} onClick={() => void submit()}>
              Save
            </Button>
          </Group>
        </Group>
      )}
      {removing && (
        <ChangeDialog
          title={REMOVAL[scope].title}
          action={REMOVAL[scope].action}
          color="red"
          change={() => write(undefined)}
          explain={explainPolicy}
          onClose={() => setRemoving(false)}
          onChanged={onChanged}
        >
          <Text size="sm">{REMOVAL[scope].detail}</Text>
        </ChangeDialog>
      )}
    </Stack>
  )
}

/** What taking a policy away does. */
const REMOVAL: Readonly<Record<PolicyScope, { title: string; action: string; detail: string }>> = {
  organization: {
    title: 'Back to the default?',
    action: 'Back to the default',
    detail:
      'Sessions have the picture, keyboard and mouse, and news then: the clipboard and files are off everywhere, also where they are open now.',
  },
  resource: {
    title: 'Take this policy away?',
    action: 'Take it away',
    detail: 'What the organization allows is allowed here then, from the next connection.',
  },
  grant: {
    title: 'Take this policy away?',
    action: 'Take it away',
    detail: 'This person may do what everybody may do here then, from the next connection.',
  },
}
