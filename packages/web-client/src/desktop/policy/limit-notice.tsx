import { Alert, Text } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import type { TransferEvent } from '@rap/client-sdk'
import { IconClockExclamation } from '@tabler/icons-react'
import { type RefObject, useEffect, useState } from 'react'
import type { SideConnection } from '../side-connection.ts'

type Near = Pick<Extract<TransferEvent, { type: 'limit_near' }>, 'limit'> & { readonly atMs: number }

interface LimitNoticeProps {
  readonly side: SideConnection | undefined
  /** The desktop: what is done there is activity. */
  readonly host: RefObject<HTMLElement | null>
}

/** Counts the last minute before a limit down, and tells of what the worker held back. */
export function LimitNotice({ side, host }: LimitNoticeProps) {
  const [near, setNear] = useState<Near>()
  const [nowMs, setNowMs] = useState(Date.now)
  useEffect(() => {
    setNear(undefined)
    if (side === undefined) return
    side.onNotice = event => {
      if (event.type === 'limit_near') {
        setNowMs(Date.now())
        setNear({ limit: event.limit, atMs: Date.now() + event.seconds_left * 1000 })
      } else if (event.type === 'withheld')
        notifications.show({ id: event.code, title: 'Held back by policy', message: event.detail, color: 'yellow' })
    }
  }, [side])
  useEffect(() => {
    if (near === undefined) return
    const timer = setInterval(() => setNowMs(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [near])
  // Whoever does something is not idle any more.
  useEffect(() => {
    const element = host.current
    if (near?.limit !== 'idle_seconds' || element === null) return
    const abort = new AbortController()
    const active = () => setNear(undefined)
    for (const type of ['pointermove', 'pointerdown', 'keydown', 'wheel'])
      element.addEventListener(type, active, { signal: abort.signal, capture: true })
    return () => abort.abort()
  }, [near, host])

  const left = near === undefined ? -1 : Math.ceil((near.atMs - nowMs) / 1000)
  if (near === undefined || left < 0) return null
  const isIdle = near.limit === 'idle_seconds'
  return (
    <Alert
      color="orange"
      variant="filled"
      icon={<IconClockExclamation aria-hidden />}
      title={isIdle ? 'Are you still there?' : 'The time of this session is almost over'}
      pos="absolute"
      top={12}
      left="50%"
      maw="calc(100% - 24px)"
      w={440}
      role="alert"
      data-testid="limit-near"
      data-limit={near.limit}
      style={{ transform: 'translateX(-50%)', zIndex: 15, pointerEvents: 'none' }}
    >
      <Text size="sm">
        {isIdle
          ? 'Nothing was done here for a while. Move the mouse over the desktop to stay; otherwise it is disconnected, and keeps running. '
          : 'Save your work: the session ends, and with it what is open on the desktop. '}
        <span aria-hidden>{left} s left.</span>
      </Text>
    </Alert>
  )
}
