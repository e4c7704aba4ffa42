import { Card, Stack, Text, Title } from '@mantine/core'
import type { ReactNode } from 'react'
import type { Explanation } from '../auth/auth.tsx'
import { FailureAlert } from './failure-alert.tsx'

interface SectionProps {
  readonly title: string
  /** What it does, in a sentence. */
  readonly explanation: string
  readonly failure?: Explanation | undefined
  readonly children: ReactNode
}

/** One part of a page: what it is, what went wrong with it, and what it shows. */
export function Section({ title, explanation, failure, children }: SectionProps) {
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
