import { Button, Center, Code, Collapse, Group, Paper, Stack, Text, Title } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import type { Trace } from '@rap/client-sdk'
import type { DesktopTarget } from './desktop-session.ts'
import type { Ending } from './ending.ts'
import { WhyThisWay } from './why-this-way.tsx'

interface EndedPanelProps {
  readonly ending: Ending
  readonly target: DesktopTarget
  /** What the page is for, where its address says so. */
  readonly resourceId: string | undefined
  /** Files that this page has not sent to their end. */
  readonly filesWaiting: number
  onOpen(target: DesktopTarget): void
  onLeave(): void
}

/** How the desktop ended, why, and the way on. */
export function EndedPanel({ ending, target, resourceId, filesWaiting, onOpen, onLeave }: EndedPanelProps) {
  const sessionId = ending.sessionId ?? ('sessionId' in target ? target.sessionId : undefined)
  const busy = ending.code === 'ERR_SESSION_ATTACHED'
  // It ended while this page was not there to be told.
  const isOver = ending.code === 'ERR_SESSION_ENDED'
  const fresh = ending.resourceId ?? resourceId
  const again: { label: string; target: DesktopTarget } =
    sessionId !== undefined && (ending.canResume || busy)
      ? { label: busy ? 'Take over' : 'Resume', target: { sessionId, takeover: true } }
      : (ending.failed && !isOver) || fresh === undefined
        ? { label: 'Try again', target: { ...target } }
        : { label: 'Start a new session', target: { resourceId: fresh } }

  return (
    <Center h="100%" p="md">
      <Paper
        withBorder
        p="xl"
        maw={560}
        w="100%"
        role={ending.failed ? 'alert' : 'status'}
        data-testid="ended"
        data-code={ending.code}
      >
        <Stack>
          <Title order={2} size="h3">
            {ending.title}
          </Title>
          {ending.detail !== '' && <Text>{ending.detail}</Text>}
          {ending.remedy !== undefined && <Text fw={500}>{ending.remedy}</Text>}
          {filesWaiting > 0 && ending.canResume && (
            <Text data-testid="files-waiting">{waitingWords(filesWaiting)}</Text>
          )}
          <Text size="xs" c="dimmed">
            <Code>{ending.code}</Code>
            {ending.requestId !== undefined && <> · request {ending.requestId}</>}
          </Text>
          {ending.trace !== undefined && <Reached trace={ending.trace} />}
          <Group justify="end">
            <Button variant="default" onClick={onLeave}>
              All desktops
            </Button>
            <Button data-autofocus autoFocus onClick={() => onOpen(again.target)}>
              {again.label}
            </Button>
          </Group>
        </Stack>
      </Paper>
    </Center>
  )
}

function waitingWords(files: number): string {
  return files === 1
    ? 'One file is only partly sent. It goes on when you resume on this page.'
    : `${files.toLocaleString()} files are not sent yet. They go on when you resume on this page.`
}

/** How the desktop was reached, or why it was not: on request. */
function Reached({ trace }: { trace: Trace }) {
  const [opened, { toggle }] = useDisclosure(false)
  return (
    <div>
      <Button
        size="compact-sm"
        variant="subtle"
        px={0}
        onClick={toggle}
        aria-expanded={opened}
        aria-controls="reached"
        data-testid="why"
      >
        {trace.toJSON().path === null ? 'Why was there no way?' : 'How was it reached?'}
      </Button>
      <Collapse expanded={opened} id="reached">
        <WhyThisWay trace={trace} />
      </Collapse>
    </div>
  )
}
