import { notifications } from '@mantine/notifications'
import { useEffect, useRef, useState, useSyncExternalStore } from 'react'
import { explain } from '../../auth/auth.tsx'
import type { LivePolicy } from '../policy/live-policy.ts'
import type { SideConnection } from '../side-connection.ts'
import { useSide } from '../use-side.ts'
import { begunBefore } from './begun-before.ts'
import type { Dropped } from './dropped.ts'
import { localRefusal, usedBy } from './local-refusal.ts'
import { shownName } from './shown-name.ts'
import { goesOn, type Upload, Uploads } from './uploads.ts'

export interface FileSending {
  readonly list: readonly Upload[]
  /** Files that go on as soon as there is a connection to the same session. */
  readonly waiting: number
  /** The last end of a file in words, for readers of the screen. */
  readonly said: string
  send(dropped: Dropped): void
  cancel(id: string): void
  retry(id: string): void
}

/** Sends files beside the open desktop, and keeps the page open while it does. */
export function useUploads(side: SideConnection | undefined, policy: LivePolicy | undefined): FileSending {
  const [uploads] = useState(() => new Uploads(explain))
  const { step, items } = useSide(side)
  const list = useSyncExternalStore(uploads.subscribe, () => uploads.state)
  const [said, setSaid] = useState('')
  const arrived = useRef<string[]>([])
  const isBusy = list.some(({ state }) => state !== 'failed')
  const mayStill = policy?.channels.has('file_upload') === true

  useEffect(() => {
    uploads.onEnd = ({ name, failure }) => {
      setSaid(failure === undefined ? `${name} is in RAP_Transfers.` : `${name}: ${failure.detail}`)
      if (failure === undefined) arrived.current.push(name)
    }
  }, [uploads])
  // Once for all that were sent together: hundreds of notices would stand in line for minutes.
  useEffect(() => {
    const [name, ...others] = arrived.current
    if (isBusy || name === undefined) return
    arrived.current = []
    const what = others.length === 0 ? `${name} is` : `${(others.length + 1).toLocaleString()} files are`
    notifications.show({ message: `${what} in RAP_Transfers`, color: 'green' })
  }, [isBusy, list])
  useEffect(() => {
    uploads.use(step === 'open' && mayStill ? side?.transfers : undefined, side?.sessionId)
  }, [uploads, side, step, mayStill])
  useEffect(() => {
    if (side === undefined) return
    side.onTakenAway = ({ item, error }) => {
      const failure = explain(error)
      uploads.addLost(item, failure)
      const title = `${shownName(item.name)} was taken away`
      notifications.show({
        title,
        message: `${failure.detail} ${failure.remedy ?? ''}`,
        color: 'red',
        autoClose: false,
      })
    }
  }, [uploads, side])
  useWarning(isBusy)

  // The newest ones, for events that come later than the page was drawn.
  const now = useRef({ items, list, policy })
  now.current = { items, list, policy }
  return {
    list,
    waiting: list.filter(goesOn).length,
    said,
    send({ files, folders }) {
      if (folders.length > 0) {
        notifications.show({
          title: folders.length === 1 ? `${folders[0]} is a folder` : `${folders.length} folders were left out`,
          message: 'Only files can be sent. Pack a folder into an archive first, such as a .zip.',
          color: 'yellow',
        })
      }
      const { current } = now
      if (current.policy === undefined) return
      let { files: count, bytes } = usedBy(
        current.items,
        current.list.filter(({ state }) => state !== 'failed'),
      )
      for (const file of files) {
        const begun = begunBefore(file, current.items, uploads)
        if (begun !== undefined) {
          uploads.takeUp(file, begun.upload_id)
          continue
        }
        const failure = localRefusal(file, current.policy.limits, { files: count, bytes })
        if (failure === undefined) {
          uploads.add([file])
          count++
          bytes += file.size
        } else uploads.addRefused(file, failure)
      }
    },
    cancel: uploads.cancel,
    retry: uploads.retry,
  }
}

/** The browser asks before the page goes away with files under way. */
function useWarning(isBusy: boolean): void {
  useEffect(() => {
    if (!isBusy) return
    const warn = (event: BeforeUnloadEvent) => event.preventDefault()
    window.addEventListener('beforeunload', warn)
    return () => window.removeEventListener('beforeunload', warn)
  }, [isBusy])
}
