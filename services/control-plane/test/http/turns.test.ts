import t from 'tap'
import { Turns } from '../../src/http/turns.ts'

t.test(
  'a bounded number runs, a bounded number waits, the rest is refused, and a failure gives its turn back',
  async t => {
    const turns = new Turns({ maxRunning: 2, maxWaiting: 1, refuse: () => new Error('busy') })
    let running = 0
    let most = 0
    const release: (() => void)[] = []
    const work = (fails: boolean) =>
      turns.take(async () => {
        running += 1
        most = Math.max(most, running)
        await new Promise<void>(resolve => release.push(resolve))
        running -= 1
        if (fails) throw new Error('failed')
      })
    const [first, second, third, fourth] = [work(true), work(false), work(false), work(false)]
    await t.rejects(fourth!, { message: 'busy' })
    release.shift()!()
    await t.rejects(first!, { message: 'failed' })
    release.shift()!()
    await second
    release.shift()!()
    await third
    t.equal(most, 2)
    t.equal(await turns.take(async () => 'free'), 'free')
  },
)
