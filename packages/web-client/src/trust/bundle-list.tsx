import { Anchor, Group, Paper, Stack, Text } from '@mantine/core'
import type { PublishedBundle } from '@rap/client-sdk'
import { counted } from '../shell/counted.ts'
import { Moment } from '../shell/moment.tsx'
import { Section } from '../shell/section.tsx'
import { Fingerprint } from './fingerprint.tsx'

/** The bundles that were published, the newest first. */
export function BundleList({ bundles }: { bundles: readonly PublishedBundle[] }) {
  return (
    <Section
      title="Trust bundles"
      explanation="What clients check workers against. Each is signed by a root of the one before, so that whoever holds any of them can follow. A program is installed with one of them."
    >
      <Stack component="ul" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
        {bundles
          .toSorted((a, b) => b.version - a.version)
          .map(({ version, ref, roots, sha256, created_at: at }) => (
            <Paper key={version} component="li" withBorder p="sm" data-bundle={ref}>
              <Stack gap={2} style={{ overflowWrap: 'anywhere' }}>
                <Group justify="space-between">
                  <Text fw={500}>{ref}</Text>
                  <Anchor size="sm" href={`/v1/trust-bundles/${version}`} download={`${ref.replace(':', '-')}.json`}>
                    Download
                  </Anchor>
                </Group>
                <Text size="sm" c="dimmed">
                  {counted(roots.length, 'root')} · published <Moment at={at} />
                </Text>
                <Fingerprint of={ref} value={sha256} />
              </Stack>
            </Paper>
          ))}
      </Stack>
    </Section>
  )
}
