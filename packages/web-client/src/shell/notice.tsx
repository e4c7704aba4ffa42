import { Card, Stack, Text, ThemeIcon } from '@mantine/core'
import type { ReactNode } from 'react'

interface NoticeProps {
  readonly icon: ReactNode
  readonly title: string
  readonly children: ReactNode
  /** What the person can do next, if anything. */
  readonly action?: ReactNode
}

/** A page or a part of one that has nothing to show, and why. */
export function Notice({ icon, title, children, action }: NoticeProps) {
  return (
    <Card withBorder p="xl">
      <Stack align="center" gap="xs">
        <ThemeIcon size={48} variant="light">
          {icon}
        </ThemeIcon>
        <Text fw={500}>{title}</Text>
        <Text size="sm" c="dimmed" ta="center">
          {children}
        </Text>
        {action}
      </Stack>
    </Card>
  )
}
