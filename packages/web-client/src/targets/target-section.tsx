import { Alert, Button, Group, Skeleton, Stack, Text, Title } from '@mantine/core'
import type { Resource, TargetIdentity } from '@rap/client-sdk'
import { IconAlertTriangle, IconShieldCheck } from '@tabler/icons-react'
import { useCallback, useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'
import { Moment } from '../shell/moment.tsx'
import { Notice } from '../shell/notice.tsx'
import { useLoad } from '../shell/use-load.ts'
import { AuthorityCard } from './authority-card.tsx'
import { CertificateList } from './certificate-list.tsx'
import { type Decision, DecisionDialog } from './decisions.tsx'
import { refusalOf } from './explain-target.ts'
import { Fingerprint } from './fingerprint.tsx'
import { ModeSelect } from './mode-select.tsx'
import { PinList } from './pin-list.tsx'

/** Who the desktop is: what it showed, what is approved of it, and the alarm, for people who may decide about that. */
export function TargetSection({ resource }: { resource: Resource }) {
  const { rap, me } = useAuth()
  const [decision, setDecision] = useState<Decision>()
  const { id, organization_id: organizationId } = resource
  const load = useCallback(async () => {
    const [identity, names] = await Promise.all([
      rap.resources.targetIdentity.get(id),
      // Names are a courtesy: without them the decisions still stand.
      rap.organizations
        .listMembers(organizationId, { limit: 200 })
        .then(({ items }) => new Map(items.map(({ user_id, display_name, email }) => [user_id, display_name || email])))
        .catch(() => new Map<string, string>()),
    ])
    return { identity, names }
  }, [rap, id, organizationId])
  const { value, failure, reload } = useLoad(load)
  const identity = value?.identity
  const nameOf = (userId: string | null): string =>
    userId === null ? 'somebody unknown' : userId === me?.id ? 'you' : (value?.names.get(userId) ?? 'a former member')

  return (
    <Stack component="section" aria-labelledby="target-title">
      <Title order={3} id="target-title">
        Target identity
      </Title>
      {failure !== undefined && <FailureAlert failure={failure} onRetry={reload} />}
      {failure === undefined && identity === undefined && <Skeleton height={160} aria-label="Loading" />}
      {identity !== undefined && (
        <>
          <Alarm identity={identity} onDecide={setDecision} />
          <ModeSelect resourceId={id} mode={identity.mode} onChanged={reload} />
          {identity.mode === 'pinned' ? null : <AuthorityCard identity={identity} onDecide={setDecision} />}
          <Group justify="space-between">
            <Title order={4}>Decided</Title>
            <Button size="xs" variant="default" onClick={() => setDecision({ kind: 'stage' })}>
              Stage the next one…
            </Button>
          </Group>
          {identity.mode !== 'pinned' && identity.approved.length + identity.staged.length > 0 && (
            <Text size="sm" c="dimmed">
              What is approved or staged counts in the mode “Approved certificates” alone; what is rejected is refused
              in every mode.
            </Text>
          )}
          <PinList identity={identity} nameOf={nameOf} onDecide={setDecision} />
          <Title order={4}>Shown by the desktop</Title>
          <Seen identity={identity} onDecide={setDecision} />
          {identity.mode === 'pinned' && <AuthorityCard identity={identity} onDecide={setDecision} />}
          {decision !== undefined && (
            <DecisionDialog
              decision={decision}
              resourceId={id}
              identity={identity}
              onClose={() => setDecision(undefined)}
              onChanged={reload}
            />
          )}
        </>
      )}
    </Stack>
  )
}

interface PartProps {
  readonly identity: TargetIdentity
  onDecide(decision: Decision): void
}

function Alarm({ identity: { alarm, seen }, onDecide }: PartProps) {
  if (alarm === null) return null
  const certificate = seen.find(({ fingerprint_sha256 }) => fingerprint_sha256 === alarm.fingerprint_sha256)
  return (
    <Alert
      color="red"
      icon={<IconAlertTriangle aria-hidden />}
      title="Another machine may be answering in its place"
      role="alert"
      data-testid="target-alarm"
    >
      <Stack gap="xs">
        <Text size="sm">
          Since <Moment at={alarm.since} /> no session starts: the desktop showed another certificate than before (
          {refusalOf(alarm.code)}). No password was sent to it.
        </Text>
        <Fingerprint value={alarm.fingerprint_sha256} />
        <Group gap="xs">
          {certificate !== undefined && (
            <>
              <Button size="xs" onClick={() => onDecide({ kind: 'approve', certificate })}>
                The change was planned…
              </Button>
              {certificate.state !== 'rejected' && (
                <Button
                  size="xs"
                  color="red"
                  variant="outline"
                  onClick={() => onDecide({ kind: 'reject', certificate })}
                >
                  It is not ours…
                </Button>
              )}
            </>
          )}
          <Button
            size="xs"
            variant="default"
            onClick={() => onDecide({ kind: 'dismiss', fingerprint: alarm.fingerprint_sha256 })}
          >
            Dismiss the alarm…
          </Button>
        </Group>
      </Stack>
    </Alert>
  )
}

function Seen({ identity, onDecide }: PartProps) {
  const { seen, alarm, forgotten_count: forgotten } = identity
  if (seen.length === 0)
    return (
      <Notice icon={<IconShieldCheck aria-hidden />} title="Nothing was seen yet">
        The first connection shows its certificate here. Without an approval, or an authority that vouches for it, no
        password is sent.
      </Notice>
    )
  return (
    <>
      <CertificateList certificates={seen} alarmed={alarm?.fingerprint_sha256} onDecide={onDecide} />
      {forgotten > 0 && (
        <Text size="sm" c="dimmed">
          {forgotten === 1 ? 'One more was seen and is' : `${forgotten} more were seen and are`} no longer kept.
        </Text>
      )}
    </>
  )
}
