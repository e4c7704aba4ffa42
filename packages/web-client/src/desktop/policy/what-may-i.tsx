import { ActionIcon, Group, Popover, Stack, Text, Title } from '@mantine/core'
import { CHANNELS, type SessionLimits } from '@rap/session-policy'
import { IconCheck, IconShieldQuestion, IconX } from '@tabler/icons-react'
import { durationText } from '../../policies/units.ts'
import { Moment } from '../../shell/moment.tsx'
import { kindsText } from '../files/local-refusal.ts'
import { sizeText } from '../files/sizes.ts'
import { explained, type LivePolicy } from './live-policy.ts'

/** What is on and off on this desktop, and who decided it. */
export function WhatMayI({ policy }: { policy: LivePolicy | undefined }) {
  return (
    <Popover width={380} shadow="md" position="bottom-end" trapFocus returnFocus>
      <Popover.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label="What may I do here?"
          title="What may I do here?"
          disabled={policy === undefined}
        >
          <IconShieldQuestion size={18} />
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown maw="calc(100vw - 16px)" data-testid="what-may-i">
        {policy !== undefined && (
          <Stack gap="xs">
            <Title order={2} size="h5">
              What may I do here?
            </Title>
            <Stack component="ul" gap={6} m={0} p={0} style={{ listStyle: 'none' }}>
              {CHANNELS.map(channel => {
                const isOn = policy.channels.has(channel)
                return (
                  <Group key={channel} component="li" gap="xs" wrap="nowrap" align="flex-start" data-channel={channel}>
                    {isOn ? (
                      <IconCheck size={18} color="var(--mantine-color-green-6)" aria-hidden style={{ flex: 'none' }} />
                    ) : (
                      <IconX size={18} color="var(--mantine-color-red-6)" aria-hidden style={{ flex: 'none' }} />
                    )}
                    <Text size="sm">{explained(channel, policy)}</Text>
                  </Group>
                )
              })}
            </Stack>
            {factsOf(policy).map(fact => (
              <Text size="xs" c="dimmed" key={fact}>
                {fact}
              </Text>
            ))}
            {policy.endsAt !== null && (
              <Text size="xs" c="dimmed">
                The session ends <Moment at={policy.endsAt} />.
              </Text>
            )}
          </Stack>
        )}
      </Popover.Dropdown>
    </Popover>
  )
}

function factsOf({ channels, limits }: LivePolicy): string[] {
  const facts: string[] = []
  if (limits.idle_seconds !== null)
    facts.push(`Without activity for ${durationText(limits.idle_seconds)}, the desktop is disconnected.`)
  if (channels.has('clipboard_client_to_server') || channels.has('clipboard_server_to_client'))
    facts.push(`A copied text may have up to ${sizeText(limits.clipboard_bytes)}.`)
  if (channels.has('file_upload')) facts.push(filesFact(limits))
  return facts
}

function filesFact({ upload_file_bytes, upload_session_bytes, upload_files, upload_extensions: kinds }: SessionLimits) {
  const which = kinds === null ? '' : `, of these kinds: ${kindsText(kinds)}`
  return `Files may have up to ${sizeText(upload_file_bytes)} each, ${sizeText(upload_session_bytes)} together, ${upload_files.toLocaleString()} at most${which}.`
}
