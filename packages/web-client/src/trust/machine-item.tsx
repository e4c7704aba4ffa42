import { ActionIcon, Badge, Code, Group, Menu, Paper, Stack, Text } from '@mantine/core'
import { IconCertificateOff, IconDots, IconKey, IconShieldOff } from '@tabler/icons-react'
import { counted } from '../shell/counted.ts'
import { Moment } from '../shell/moment.tsx'
import { type Machine, stateOf } from './machine.ts'

interface MachineItemProps {
  readonly machine: Machine
  readonly onEnrol: (() => void) | undefined
  onRevoke(): void
  onTakeBack(): void
}

/** One worker or service: its state, its names, its certificate, and what can be done about it. */
export function MachineItem({ machine, onEnrol, onRevoke, onTakeBack }: MachineItemProps) {
  const { name, kind, id, identity, worker, revokedAt } = machine
  const state = stateOf(machine, Date.now())
  const names = [...(identity?.dns_names ?? []), ...(identity?.ip_addresses ?? [])]
  const labels = Object.entries(identity?.labels ?? worker?.labels ?? {})
  return (
    <Paper component="li" withBorder p="sm" data-machine={machine.key}>
      <Group justify="space-between" wrap="nowrap" align="start">
        <Stack gap={2} miw={0} style={{ overflowWrap: 'anywhere' }}>
          <Group gap="xs">
            <Text fw={500}>{name}</Text>
            <Badge variant="light" color={state.color}>
              {state.label}
            </Badge>
            {kind === 'service' && <Badge variant="default">Service</Badge>}
          </Group>
          {names.length > 0 && <Text size="sm">{names.join(', ')}</Text>}
          {names.length === 0 && worker !== undefined && <Text size="sm">{worker.public_url}</Text>}
          {state.hint !== undefined && (
            <Text size="sm" c="dimmed">
              {state.hint}
            </Text>
          )}
          <Text size="sm" c="dimmed">
            {revokedAt !== null ? (
              <>
                Revoked <Moment at={revokedAt} />
              </>
            ) : (
              <CertificateLine machine={machine} />
            )}
          </Text>
          <Group gap={6}>
            {labels.map(([label, value]) => (
              <Code key={label}>
                {label}={value}
              </Code>
            ))}
            {kind === 'worker' && id !== name && (
              <Text size="xs" c="dimmed">
                {id}
              </Text>
            )}
          </Group>
        </Stack>
        {(revokedAt === null || kind === 'service') && (
          <Menu position="bottom-end">
            <Menu.Target>
              <ActionIcon variant="subtle" color="gray" aria-label={`Actions for ${name}`}>
                <IconDots size={18} />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              {onEnrol !== undefined && (
                <Menu.Item leftSection={<IconKey size={16} aria-hidden />} onClick={onEnrol}>
                  {identity?.certificate == null ? 'New join token' : 'Enrol again'}
                </Menu.Item>
              )}
              {revokedAt === null && identity?.certificate != null && (
                <Menu.Item leftSection={<IconCertificateOff size={16} aria-hidden />} onClick={onTakeBack}>
                  Take back its certificate
                </Menu.Item>
              )}
              {revokedAt === null && (
                <Menu.Item color="red" leftSection={<IconShieldOff size={16} aria-hidden />} onClick={onRevoke}>
                  Revoke
                </Menu.Item>
              )}
            </Menu.Dropdown>
          </Menu>
        )}
      </Group>
    </Paper>
  )
}

function CertificateLine({ machine: { identity, worker } }: { machine: Machine }) {
  const sessions = worker === undefined ? '' : counted(worker.live_attachments, 'live desktop') || 'no live desktop'
  const version = worker === undefined ? '' : `version ${worker.version}`
  const more = [sessions, version].filter(part => part !== '').join(' · ')
  if (identity === undefined) return <>Certificate from elsewhere{more && ` · ${more}`}</>
  if (identity.certificate === null) {
    return (
      <>
        Registered <Moment at={identity.created_at} />
      </>
    )
  }
  const { not_after: notAfter, generation } = identity.certificate
  return (
    <>
      Certificate until <Moment at={notAfter} /> · generation {generation}
      {more && ` · ${more}`}
    </>
  )
}
