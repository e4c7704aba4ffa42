import { Group, SegmentedControl, Stack, Switch, Text } from '@mantine/core'
import {
  CHANNEL_WORDS,
  CHANNELS,
  type Channel,
  DEFAULT_POLICY,
  decidePolicy,
  type PolicyLayers,
  type PolicyScope,
} from '@rap/session-policy'
import type { PolicyForm } from './policy-form.ts'
import { ABOVE, CHANNEL_HINTS } from './words.ts'

interface ChannelFieldsProps {
  readonly scope: PolicyScope
  readonly above: PolicyLayers
  readonly form: PolicyForm
  readonly disabled: boolean
  onChange(change: Pick<PolicyForm, 'decidesChannels' | 'on'>): void
}

/** One line for each channel: on or off for the organization; below it, as above or off. */
export function ChannelFields({ scope, above, form, disabled, onChange }: ChannelFieldsProps) {
  const isTop = scope === 'organization'
  const { channels: decided } = decidePolicy(above)
  const set = (channel: Channel, isOn: boolean) => {
    const on = CHANNELS.filter(name => (name === channel ? isOn : form.on.includes(name)))
    // Below the organization, a list of everything says nothing.
    onChange({ on, decidesChannels: isTop || on.length < CHANNELS.length })
  }
  return (
    <Stack gap="xs">
      {isTop && (
        <Switch
          label="Decide here what sessions may do"
          description="Otherwise the default holds: the picture, keyboard and mouse, and news."
          checked={form.decidesChannels}
          disabled={disabled}
          onChange={({ currentTarget: { checked } }) =>
            // What is not decided shows what holds.
            onChange({ on: checked ? form.on : DEFAULT_POLICY.channels, decidesChannels: checked })
          }
        />
      )}
      {CHANNELS.map(channel => {
        const isOffAbove = !isTop && !decided[channel].allowed
        const isOn = form.on.includes(channel)
        return (
          <Group key={channel} justify="space-between" gap="xs" data-channel={channel}>
            <Stack gap={0} flex="1 1 14rem">
              <Text size="sm" id={`channel-${scope}-${channel}`}>
                {CHANNEL_WORDS[channel]}
              </Text>
              <Text size="xs" c="dimmed" id={`channel-${scope}-${channel}-hint`}>
                {CHANNEL_HINTS[channel]}
              </Text>
            </Stack>
            <SegmentedControl
              size="xs"
              aria-labelledby={`channel-${scope}-${channel}`}
              aria-describedby={`channel-${scope}-${channel}-hint`}
              disabled={disabled || (isTop && !form.decidesChannels)}
              data={
                isTop
                  ? [
                      { value: 'on', label: 'On' },
                      { value: 'off', label: 'Off' },
                    ]
                  : [
                      { value: 'on', label: `${ABOVE[scope]}: ${isOffAbove ? 'off' : 'on'}` },
                      { value: 'off', label: 'Off' },
                    ]
              }
              value={isOn ? 'on' : 'off'}
              onChange={value => set(channel, value === 'on')}
            />
          </Group>
        )
      })}
    </Stack>
  )
}
