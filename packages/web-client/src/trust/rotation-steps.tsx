import { Button, Group, Stack, Text } from '@mantine/core'
import type { PlatformCaStatus } from '@rap/client-sdk'
import { useState } from 'react'
import { useAuth } from '../auth/auth.tsx'
import { Section } from '../shell/section.tsx'
import { type CaStep, whyNot } from './explain-trust.ts'
import { StepDialog } from './step-dialog.tsx'

interface Words {
  readonly name: string
  readonly question: string
  readonly action: string
  /** What it does, before it is done. */
  readonly what: string
  /** More, where it is confirmed. */
  readonly more: string
}

const STEPS: Readonly<Record<CaStep, Words>> = {
  stage: {
    name: '1. Stage',
    question: 'Stage the next generation?',
    action: 'Stage',
    what: 'Makes the next generation and publishes a bundle with both roots. Nothing is issued by it yet.',
    more: 'Clients fetch the new bundle by themselves. Give them time before the next step.',
  },
  activate: {
    name: '2. Activate',
    question: 'Activate the staged generation?',
    action: 'Activate',
    what: 'Issues by the staged generation from now on. Every machine is told to renew within a minute.',
    more: 'Desktops stay open. Certificates come with a link to the older root, for clients that do not know the new one.',
  },
  retire: {
    name: '3. Retire',
    question: 'Retire the older generation?',
    action: 'Retire',
    what: 'Publishes a bundle without the older root and destroys its key.',
    more: 'This cannot be undone. Clients that still hold the older bundle alone take the gateway until they have followed.',
  },
  rollback: {
    name: 'Roll back',
    question: 'Go one step back?',
    action: 'Roll back',
    what: 'Goes one step back: issues by the older generation again, or drops the staged one.',
    more: 'As often as there are steps to go back.',
  },
  renewIntermediate: {
    name: 'Renew the intermediate',
    question: 'Renew the intermediate?',
    action: 'Renew',
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
          const { name, action, what } = STEPS[step]
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
                onClick={() => setTaking(step)}
              >
                {action}
              </Button>
            </Group>
          )
        })}
      </Stack>
      {taking !== undefined && (
        <StepDialog
          title={STEPS[taking].question}
          action={STEPS[taking].action}
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
