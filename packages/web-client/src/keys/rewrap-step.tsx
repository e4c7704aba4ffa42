import { Alert, Button, Group, Progress, Stack, Text } from '@mantine/core'
import type { MasterKey, Rewrap } from '@rap/client-sdk'
import { useState } from 'react'
import { type Explanation, useAuth } from '../auth/auth.tsx'
import { counted } from '../shell/counted.ts'
import { Moment } from '../shell/moment.tsx'
import { Section } from '../shell/section.tsx'
import { explainKey } from './explain-key.ts'

interface RewrapStepProps {
  readonly keys: readonly MasterKey[]
  /** The newest re-wrap, if there ever was one. */
  readonly last: Rewrap | undefined
  onChanged(): void
}

/** Wraps again what older keys have wrapped, and shows how far that is. */
export function RewrapStep({ keys, last, onChanged }: RewrapStepProps) {
  const { rap } = useAuth()
  const [failure, setFailure] = useState<Explanation>()
  const [busy, setBusy] = useState(false)
  const older = keys
    .map(key => ({ ...key, rows: key.state === 'active' ? 0 : key.secrets + key.sealing_keys }))
    .filter(({ rows }) => rows > 0)
  const total = older.reduce((sum, { rows }) => sum + rows, 0)

  const rewrap = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      await rap.rewraps.start()
    } catch (error) {
      setFailure(explainKey(error))
    }
    setBusy(false)
    onChanged()
  }

  return (
    <Section
      title="2. Re-wrap"
      explanation="Wraps with the active key what older keys have wrapped; the secrets themselves are not opened, and a run that is interrupted goes on by itself."
      failure={failure}
    >
      {last?.state === 'running' ? (
        <Running rewrap={last} />
      ) : (
        <>
          <Group justify="space-between">
            <Text size="sm">
              {total === 0
                ? 'Everything is wrapped with the active key.'
                : `${counted(total, 'row')} to wrap again: ${older.map(key => `${key.rows.toLocaleString()} of ${key.key_id}`).join(', ')}.`}
            </Text>
            <Button disabled={total === 0} loading={busy} onClick={() => void rewrap()}>
              Start re-wrap
            </Button>
          </Group>
          {last !== undefined && <Finished rewrap={last} />}
        </>
      )}
    </Section>
  )
}

function Running({ rewrap: { total, remaining, to_key_id, rate_per_second: rate, seconds_left } }: { rewrap: Rewrap }) {
  const done = Math.max(0, total - remaining)
  const percent = total === 0 ? 100 : Math.min(100, (done / total) * 100)
  return (
    <Stack gap={4}>
      <Progress.Root size="lg">
        <Progress.Section value={percent} animated aria-label={`Re-wrap to ${to_key_id}`} />
      </Progress.Root>
      <Text size="sm" role="status">
        {done.toLocaleString()} of {counted(total, 'row') || '0 rows'} · {rate.toLocaleString()} a second ·{' '}
        {seconds_left === null ? 'time left is not known yet' : `${durationOf(seconds_left)} left`}
      </Text>
    </Stack>
  )
}

function Finished({ rewrap: { total, failed, to_key_id, finished_at } }: { rewrap: Rewrap }) {
  return (
    <>
      <Text size="sm" c="dimmed">
        The last re-wrap, {counted(total, 'row') || 'of nothing'} to {to_key_id}, ended{' '}
        {finished_at !== null && <Moment at={finished_at} />}.
      </Text>
      {failed > 0 && (
        <Alert color="red" title={`${counted(failed, 'row')} did not open`}>
          They stay as they were, and their key cannot be retired. The resolver's log names each one.
        </Alert>
      )}
    </>
  )
}

function durationOf(seconds: number): string {
  if (seconds < 90) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`
}
