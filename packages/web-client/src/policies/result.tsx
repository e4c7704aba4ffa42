import { Badge, Table, Text } from '@mantine/core'
import { CHANNEL_WORDS, CHANNELS, LIMIT_NAMES, type PolicyDecision } from '@rap/session-policy'
import { limitText } from './limit-text.ts'
import { DECIDED_BY, LIMIT_WORDS } from './words.ts'

/** What a policy comes to, and who decided each part of it. */
export function Result({ decision }: { decision: PolicyDecision }) {
  return (
    <Table data-testid="policy-result" withRowBorders={false} verticalSpacing={4}>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>What it comes to</Table.Th>
          <Table.Th>Value</Table.Th>
          <Table.Th>Decided by</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {CHANNELS.map(channel => {
          const { allowed, decided_by } = decision.channels[channel]
          return (
            <Table.Tr key={channel} data-result={channel}>
              <Table.Td>{CHANNEL_WORDS[channel]}</Table.Td>
              <Table.Td>
                <Badge variant="light" color={allowed ? 'green' : 'red'}>
                  {allowed ? 'On' : 'Off'}
                </Badge>
              </Table.Td>
              <Table.Td>
                <Decider>{DECIDED_BY[decided_by]}</Decider>
              </Table.Td>
            </Table.Tr>
          )
        })}
        {LIMIT_NAMES.map(name => (
          <Table.Tr key={name} data-result={name}>
            <Table.Td>{LIMIT_WORDS[name].label}</Table.Td>
            <Table.Td>{limitText(name, decision)}</Table.Td>
            <Table.Td>
              <Decider>{DECIDED_BY[decision.limits[name].decided_by]}</Decider>
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  )
}

function Decider({ children }: { children: string }) {
  return (
    <Text size="sm" c="dimmed" span>
      {children}
    </Text>
  )
}
