import { waitFor } from '@rap/testkit'
import { ATTEMPTS } from './attempts.ts'
import { type Cell, newWord } from './cell.ts'
import { CB } from './clipboard-peer.ts'
import { STATUS_SUCCESS } from './device-peer.ts'
import type { Channel } from './policies.ts'

/** What somebody does who uses a channel; it tells whether that still has its effect on the other side. */
export type Use = (cell: Cell) => Promise<boolean>

/** Does an attempt of the table once more, with a new word. */
function again(name: string): Use {
  const attempt = ATTEMPTS.find(each => each.name === name)
  if (attempt === undefined) throw new Error(`there is no attempt ${name}`)
  return async cell => {
    const word = newWord()
    await attempt.act(cell, word)
    await cell.settle()
    return (attempt.direction === 'client_to_server' ? cell.target : cell.link.client).saw(word)
  }
}

/** One use for every channel of the policy. */
export const USES: Readonly<Record<Channel, Use>> = {
  display: again('a picture as fast-path update'),
  input: again('keys as fast-path input'),
  clipboard_client_to_server: again('a text of the client'),
  clipboard_server_to_client: again('a text of the target'),
  // Neither the person nor the target finds anything working.
  file_upload: async cell => {
    const outcome = await cell.link.upload('used.txt', Buffer.from(newWord()))
    const isRead = await canRead(cell, '\\used.txt')
    if ('name' in outcome && !isRead) throw new Error('the target cannot read what was sent')
    return 'name' in outcome || isRead
  },
  // The end of the channel is told on the channel: whoever has heard it hears nothing more.
  events: async cell =>
    await waitFor(() => cell.link.channelsTold() !== undefined, { what: 'the policy' }).then(
      () => cell.link.channelsTold()?.includes('events') === true,
    ),
}

/** Tells whether the target gets a byte of a file. */
async function canRead({ devices }: Cell, path: string): Promise<boolean> {
  const id = devices.devices[0]?.id ?? 0
  const { ioStatus, output } = await devices.create(id, path)
  if (ioStatus !== STATUS_SUCCESS) return false
  const fileId = output.readUInt32LE(0)
  const read = await devices.read(id, fileId, 0, 1)
  await devices.close(id, fileId)
  return read.ioStatus === STATUS_SUCCESS
}

/** Brings everything up that the uses need. */
export async function beginUses(cell: Cell): Promise<void> {
  cell.atTarget.sayCapabilities()
  cell.atTarget.say(CB.MONITOR_READY)
  await cell.toClient()
  cell.atClient.sayCapabilities()
  cell.atClient.say(CB.FORMAT_LIST)
  await cell.settle()
  await cell.devices.begin()
}
