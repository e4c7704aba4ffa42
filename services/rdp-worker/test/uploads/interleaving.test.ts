import { randomBytes, randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { UploadError } from '../../src/uploads/errors.ts'
import { LIMITS, openStores, place, read, sha256 } from './support.ts'

/** Files of one client that does whatever it likes with them. */
const FILES = [0, 1, 700, 5000].map(size => ({ uploadId: randomUUID(), name: 'file.bin', data: randomBytes(size) }))

const message = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant('whole' as const), file: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('begin' as const), file: fc.nat(3) }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('next' as const), file: fc.nat(3), length: fc.nat(2000) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('stray' as const), file: fc.nat(3), offset: fc.nat(6000) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('end' as const), file: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('bent' as const), file: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('cancel' as const), file: fc.nat(3) }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('wait' as const), file: fc.nat(3) }) },
)

t.test(
  'INVARIANT: in any order of messages, disk, list and counts agree, and what is shown is what was sent',
  async t => {
    const dir = place(t)
    const stores = await openStores(t, { dir })
    const [own] = readdirSync(dir)
    const onDisk = () =>
      readdirSync(`${dir}/${own}`, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
    let shown = 0
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 60 }), async messages => {
        const session = stores.of('session')
        const sent = FILES.map(() => 0)
        const answers: Promise<unknown>[] = []
        const ask = (answer: Promise<unknown>) =>
          answers.push(
            answer.catch((error: unknown) => {
              if (!(error instanceof UploadError)) throw error
            }),
          )
        for (const { type, file, ...rest } of messages) {
          const { uploadId, name, data } = FILES[file]!
          if (type === 'whole') {
            ask(
              session.begin({ uploadId, name, size: data.length }, LIMITS).then(async ({ offset }) => {
                await session.write(uploadId, offset, data.subarray(offset))
                await session.end(uploadId, sha256(data))
              }),
            )
          } else if (type === 'begin') {
            ask(
              session.begin({ uploadId, name, size: data.length }, LIMITS).then(({ offset }) => (sent[file] = offset)),
            )
          } else if (type === 'next' && 'length' in rest) {
            const piece = data.subarray(sent[file]!, sent[file]! + rest.length)
            ask(session.write(uploadId, sent[file]!, piece))
            sent[file]! += piece.length
          } else if (type === 'stray' && 'offset' in rest) ask(session.write(uploadId, rest.offset, randomBytes(10)))
          else if (type === 'end') ask(session.end(uploadId, sha256(data)))
          else if (type === 'bent') ask(session.end(uploadId, sha256(Buffer.from('other'))))
          else if (type === 'cancel') ask(session.cancel(uploadId))
          else await Promise.all(answers.splice(0))
        }
        await Promise.all(answers)
        const transfers = session.transfers()
        t.equal(onDisk().length, transfers.length)
        t.equal(
          stores.storedBytes,
          transfers.reduce((sum, { offset }) => sum + offset, 0),
        )
        t.equal(new Set(transfers.map(({ name }) => name)).size, transfers.length)
        for (const { id, size } of session.list()) {
          shown++
          const { data } = FILES.find(({ uploadId }) => uploadId === id)!
          t.ok(data.equals((await read(session, id, 0, size))!))
        }
        await stores.wipe('session')
        t.equal(stores.storedBytes, 0)
        t.equal(onDisk().length, 0)
      }),
      { numRuns: 150 },
    )
    t.ok(shown > 20, `${shown} files became ready`)
  },
)
