import { Button, Group, Stack, Text } from '@mantine/core'
import type { PlatformCaStatus } from '@rap/client-sdk'
import { useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { Section } from '../shell/section.tsx'
import { type CaStep, whyNot } from './explain-trust.ts'
import { StepDialog } from './step-dialog.tsx'

interface Words {
  readonly name: string
  /** What it does, before it is done. */
  readonly what: string
  /** More, where it is confirmed. */
  readonly more: string
}

const STEPS: Readonly<Record<CaStep, Words>> = {
  stage: {
    name: '1. Stage',
    what: 'Makes the next generation and publishes a bundle with both roots. Nothing is issued by it yet.',
    more: 'Clients fetch the new bundle by themselves. Give them time before the next step.',
  },
  activate: {
    name: '2. Activate',
    what: 'Issues by the staged generation from now on. Every machine is told to renew within a minute.',
    more: 'Desktops stay open. Certificates come with a link to the older root, for clients that do not know the new one.',
  },
  retire: {
    name: '3. Retire',
    what: 'Publishes a bundle without the older root and destroys its key.',
    more: 'This cannot be undone. Clients that still hold the older bundle alone take the gateway until they have followed.',
  },
  rollback: {
    name: 'Roll back',
    what: 'Goes one step back: issues by the older generation again, or drops the staged one.',
    more: 'As often as there are steps to go back.',
  },
  renewIntermediate: {
    name: 'Renew the intermediate',
    what: 'Replaces the intermediate that issues, below the same root. No client notices.',
    more: 'Certificates of the earlier intermediate stay valid until they end.',
  },
}
const ORDER = Object.keys(STEPS) as CaStep[]

/** The steps of a rotation, each with its button or the reason why it cannot be taken now. */
export function RotationSteps({ status, onChanged }: { status: PlatformCaStatus; onChanged(): void }) {
  const { rap } = useAuth()
  const [taking, setTaking] = useState<CaStep>()
  return (
    <Section
      title="Rotation"
      explanation="Changes the root without anybody noticing: three steps with time in between, and a way back until the last one."
    >
      <Stack component="ol" gap="sm" p={0} m={0} style={{ listStyle: 'none' }}>
        {ORDER.map(step => {
          const reason = whyNot(step, status)
          const { name, what } = STEPS[step]
          return (
            <Group key={step} component="li" justify="space-between" wrap="nowrap" align="start">
              <div>
                <Text size="sm" fw={500}>
                  {name}
                </Text>
                <Text size="sm" c="dimmed">
                  {what}
                </Text>
                {reason !== undefined && (
                  <Text size="sm" c="dimmed" fs="italic">
                    {reason}
                  </Text>
                )}
              </div>
              <Button
                variant={reason === undefined && /^\d/.test(name) ? 'filled' : 'default'}
                size="xs"
                style={{ flex: 'none' }}
                disabled={reason !== undefined}
                aria-label={name.replace(/^\d\. /, '')}
                onClick={() => setTaking(step)}
              >
                {name.replace(/^\d\. | the intermediate$/g, '')}
              </Button>
            </Group>
          )
        })}
      </Stack>
      {taking !== undefined && (
        <StepDialog
          title={`${STEPS[taking].name.replace(/^\d\. /, '')}?`}
          action={STEPS[taking].name.replace(/^\d\. | the intermediate$/g, '')}
          {...(taking === 'retire' && { color: 'red' })}
          take={options => rap.platformCa[taking](options)}
          onClose={() => setTaking(undefined)}
          onChanged={onChanged}
        >
          <Text size="sm">{STEPS[taking].what}</Text>
          <Text size="sm">{STEPS[taking].more}</Text>
        </StepDialog>
      )}
    </Section>
  )
}
