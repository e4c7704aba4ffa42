import { Button, Card, Group, Stack, Text } from '@mantine/core'
import type { TargetIdentity } from '@rap/client-sdk'
import { Moment } from '../shell/moment.tsx'
import type { Decision } from './decisions.tsx'
import { Fingerprint } from './fingerprint.tsx'

/** The authority that vouches for a desktop in mode strict. */
export function AuthorityCard({
  identity,
  onDecide,
}: {
  identity: TargetIdentity
  onDecide(decision: Decision): void
}) {
  const { ca, mode } = identity
  return (
    <Card withBorder data-testid="authority">
      <Group justify="space-between" align="flex-start">
        <Stack gap="xs" flex="1 1 16rem" miw={0}>
          <Text fw={600}>{ca === null ? 'The authorities of the worker’s system' : 'An authority of its own'}</Text>
          {ca?.certificates.map(certificate => (
            <Stack key={certificate.fingerprint_sha256} gap={2}>
              <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
                {certificate.subject}, valid to <Moment at={certificate.not_after} />
              </Text>
              <Fingerprint value={certificate.fingerprint_sha256} />
            </Stack>
          ))}
          <Text size="sm" c="dimmed">
            {mode === 'strict'
              ? 'It has to vouch for the certificate, and the address has to stand in it.'
              : 'It counts in the mode “Certificate authority” alone.'}
          </Text>
        </Stack>
        <Group gap="xs">
          <Button size="xs" variant="default" onClick={() => onDecide({ kind: 'enrol' })}>
            {ca === null ? 'Enrol an authority…' : 'Replace…'}
          </Button>
          {ca !== null && (
            <Button size="xs" variant="subtle" color="red" onClick={() => onDecide({ kind: 'remove_ca' })}>
              Remove…
            </Button>
          )}
        </Group>
      </Group>
    </Card>
  )
}
