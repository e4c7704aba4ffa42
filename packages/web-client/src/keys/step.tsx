import { Card, Stack, Text, Title } from '@mantine/core'
import type { ReactNode } from 'react'
import type { Explanation } from '../auth/auth.tsx'
import { FailureAlert } from '../shell/failure-alert.tsx'

interface StepProps {
  readonly title: string
  /** What it does, in a sentence. */
  readonly explanation: string
  readonly failure?: Explanation | undefined
  readonly children: ReactNode
}

/** One step of a change of the master key. */
export function Step({ title, explanation, failure, children }: StepProps) {
  return (
    <Card withBorder component="section" aria-label={title}>
      <Stack gap="sm">
        <div>
          <Title order={3} size="h4">
            {title}
          </Title>
          <Text size="sm" c="dimmed">
            {explanation}
          </Text>
        </div>
        {failure !== undefined && <FailureAlert failure={failure} />}
        {children}
      </Stack>
    </Card>
  )
}
