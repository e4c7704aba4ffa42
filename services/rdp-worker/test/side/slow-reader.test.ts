import { randomUUID } from 'node:crypto'
import type { SideMessage } from '@rap/data-plane-protocol'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { SideChannels, type SidePort } from '../../src/side/side-channels.ts'
import { LIMITS, openStores, place } from '../uploads/support.ts'

const ignore = () => undefined
const SILENT = { onActivity: ignore, nearLimits: () => [], onUpload: ignore, onError: ignore }

/** A connection whose client reads when the test says so. */
class Reader implements SidePort {
  readonly heard: SideMessage[] = []
  readonly released = (why: string) => {
    this.end = why
  }
  waiting = 0
  end: string | undefined

  send(message: SideMessage): void {
    this.heard.push(message)
  }
  waitingBytes(): number {
    return this.waiting
  }
  get lists() {
    return this.heard.flatMap(message => (message.type === 'transfers' ? [message.items.map(({ name }) => name)] : []))
  }
}

t.test('who reads slowly gets the newest list when there is room, and not each one that there was', async t => {
  const uploads = (await openStores(t, { dir: place(t) })).of(randomUUID())
  const policy = { channels: ['file_upload', 'events'] as const, limits: LIMITS, endsAt: undefined }
  const channels = new SideChannels({ uploads, policy, ...SILENT })
  t.teardown(() => channels.close())
  const port = new Reader()
  channels.bind(port, ['file_upload', 'events'])
  t.same(port.lists, [[]])
  port.waiting = 1_000_000
  const quick = new Reader()
  for (const name of ['a', 'b', 'c']) {
    await uploads.begin({ uploadId: randomUUID(), name, size: 1 }, LIMITS)
    await new Promise(resolve => setTimeout(resolve, 40))
  }
  t.same(port.lists, [[]], 'nothing is put behind what waits')
  channels.drained(port)
  t.same(port.lists, [[]], 'nor while it still waits')
  port.waiting = 0
  channels.drained(port)
  t.same(port.lists, [[], ['a', 'b', 'c']])
  channels.drained(port)
  t.equal(port.lists.length, 2, 'and once')
  await uploads.begin({ uploadId: randomUUID(), name: 'd', size: 1 }, LIMITS)
  await waitFor(() => port.lists.length === 3, { what: 'the next one', intervalMs: 5 })
  channels.bind(quick, ['file_upload'])
  t.same(quick.lists, [['a', 'b', 'c', 'd']])
  t.equal(port.end, undefined)
})

t.test('a channel that the policy has lost is given to no connection, whatever its bind was granted', async t => {
  const uploads = (await openStores(t, { dir: place(t) })).of(randomUUID())
  const policy = { channels: ['file_upload', 'events'] as const, limits: LIMITS, endsAt: undefined }
  const channels = new SideChannels({ uploads, policy, ...SILENT })
  t.teardown(() => channels.close())
  channels.setPolicy({ ...policy, channels: ['events'] })
  const [none, some] = [new Reader(), new Reader()]
  channels.bind(none, ['file_upload'])
  t.equal(none.end, 'policy')
  t.same(none.heard, [])
  channels.bind(some, ['file_upload', 'events'])
  t.same(
    some.heard.map(({ type }) => type),
    ['policy'],
  )
  channels.request(some, { type: 'upload_begin', upload_id: randomUUID(), name: 'a', size: 1 })
  t.match(some.heard.at(-1), { type: 'upload_refused', code: 'ERR_UPLOAD_NOT_ALLOWED' })
  t.same(uploads.transfers(), [])
})
