import { Code, Text } from '@mantine/core'
import type { ResolverInstance } from '@rap/client-sdk'
import { Moment } from '../shell/moment.tsx'
import { Section } from '../shell/section.tsx'

/** The resolvers that run: a key becomes active only when each of them has its source. */
export function ResolverList({ instances }: { instances: readonly ResolverInstance[] }) {
  return (
    <Section
      title="Running resolvers"
      explanation="A key becomes active only when every one of them has its source; each reads its configuration again within seconds."
    >
      {instances.length === 0 && <Text size="sm">None was heard of within the last minute.</Text>}
      {instances.map(({ name, sources, seen_at }) => (
        <Text key={name} size="sm" style={{ overflowWrap: 'anywhere' }}>
          <Code>{name}</Code> has {sources.length === 0 ? 'no key' : sources.join(', ')} · seen <Moment at={seen_at} />
        </Text>
      ))}
    </Section>
  )
}
