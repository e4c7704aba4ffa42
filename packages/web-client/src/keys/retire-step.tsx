import { Button, Code, Group, Stack, Text } from '@mantine/core'
import type { MasterKey } from '@rap/client-sdk'
import { useState } from 'react'
import { Section } from '../shell/section.tsx'
import { whyNotRetired } from './explain-key.ts'
import { RetireDialog } from './retire-dialog.tsx'

interface RetireStepProps {
  readonly keys: readonly MasterKey[]
  onChanged(): void
}

/** The keys that are not retired, each with the way to end it or the reason why that cannot be done now. */
export function RetireStep({ keys, onChanged }: RetireStepProps) {
  const [retiring, setRetiring] = useState<MasterKey>()
  const candidates = keys.filter(({ state }) => state !== 'retired')
  return (
    <Section
      title="3. Retire"
      explanation="Ends a key that nothing is wrapped with any more; afterwards its material may be destroyed where it lives."
    >
      <Stack component="ul" gap="xs" p={0} m={0} style={{ listStyle: 'none' }}>
        {candidates.map(key => {
          const reason = whyNotRetired(key)
          return (
            <Group key={key.key_id} component="li" justify="space-between" mih={30}>
              <Code fz="sm">{key.key_id}</Code>
              {reason === undefined ? (
                <Button
                  variant="default"
                  size="xs"
                  aria-label={`Retire ${key.key_id}`}
                  onClick={() => setRetiring(key)}
                >
                  Retire
                </Button>
              ) : (
                <Text size="sm" c="dimmed">
                  {reason}
                </Text>
              )}
            </Group>
          )
        })}
      </Stack>
      {retiring !== undefined && (
        <RetireDialog masterKey={retiring} onClose={() => setRetiring(undefined)} onChanged={onChanged} />
      )}
    </Section>
  )
}
