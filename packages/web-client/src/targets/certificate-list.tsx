import { Badge, Button, Group, Paper, Stack, Text } from '@mantine/core'
import type { TargetCertificate } from '@rap/client-sdk'
import { Moment } from '../shell/moment.tsx'
import type { Decision } from './decisions.tsx'
import { refusalOf } from './explain-target.ts'
import { Fingerprint } from './fingerprint.tsx'

const STATES = {
  approved: { label: 'Approved', color: 'green' },
  staged: { label: 'Staged', color: 'blue' },
  seen: { label: 'Seen', color: 'gray' },
  rejected: { label: 'Rejected', color: 'red' },
  retired: { label: 'Retired', color: 'gray' },
} as const satisfies Record<TargetCertificate['state'], object>

interface CertificateListProps {
  readonly certificates: readonly TargetCertificate[]
  /** Fingerprint of the one that raised the alarm. */
  readonly alarmed: string | undefined
  onDecide(decision: Decision): void
}

/** What the desktop showed, the newest first. */
export function CertificateList({ certificates, alarmed, onDecide }: CertificateListProps) {
  return (
    <Stack component="ol" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
      {certificates.map(certificate => (
        <CertificateItem
          key={certificate.fingerprint_sha256}
          certificate={certificate}
          isAlarmed={certificate.fingerprint_sha256 === alarmed}
          onDecide={onDecide}
        />
      ))}
    </Stack>
  )
}

function CertificateItem({
  certificate,
  isAlarmed,
  onDecide,
}: {
  certificate: TargetCertificate
  isAlarmed: boolean
  onDecide(decision: Decision): void
}) {
  const { state, names, self_signed, times_seen, accepted_at, refused_code } = certificate
  const isOver = new Date(certificate.not_after).getTime() < Date.now()
  return (
    <Paper component="li" withBorder p="sm" data-certificate={certificate.fingerprint_sha256} data-state={state}>
      <Stack gap="xs">
        <Group justify="space-between" align="flex-start">
          <Group gap="xs" flex="1 1 14rem" miw={0}>
            <Text fw={600} style={{ overflowWrap: 'anywhere' }}>
              {certificate.subject || 'Without a subject'}
            </Text>
            <Badge variant="light" color={STATES[state].color}>
              {STATES[state].label}
            </Badge>
            {isAlarmed && (
              <Badge variant="filled" color="red">
                Alarm
              </Badge>
            )}
          </Group>
          <Group gap="xs">
            {state !== 'approved' && (
              <Button size="xs" variant="default" onClick={() => onDecide({ kind: 'approve', certificate })}>
                Approve…
              </Button>
            )}
            {state !== 'rejected' && (
              <Button size="xs" variant="subtle" color="red" onClick={() => onDecide({ kind: 'reject', certificate })}>
                Reject…
              </Button>
            )}
          </Group>
        </Group>
        <Fingerprint value={certificate.fingerprint_sha256} />
        <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
          {names.length === 0 ? 'No names in it' : `For ${names.join(', ')}`} ·{' '}
          {self_signed ? 'signed by itself' : `issued by ${certificate.issuer}`}
        </Text>
        <Text size="sm" {...(isOver && { c: 'red' })}>
          Valid from <Moment at={certificate.not_before} /> to <Moment at={certificate.not_after} />
          {isOver && ', which is over'}
        </Text>
        <Text size="sm" c="dimmed">
          {times_seen === 1 ? 'Seen once' : `Seen ${times_seen} times, first`} <Moment at={certificate.first_seen_at} />
          {times_seen > 1 && (
            <>
              , last <Moment at={certificate.last_seen_at} />
            </>
          )}{' '}
          by worker {certificate.worker_name}.{' '}
          {refused_code !== null
            ? `Refused${times_seen > 1 ? ' the last time' : ''}: ${refusalOf(refused_code)}.`
            : accepted_at !== null
              ? 'Accepted the last time.'
              : 'Not checked: the mode accepts anything.'}
        </Text>
      </Stack>
    </Paper>
  )
}
