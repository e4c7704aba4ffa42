import t from 'tap'
import { RefusedChannels } from '../../src/relays/refused-channels.ts'

t.test('channels are told together, every name once, in lists that the audit has room for', async t => {
  const told: string[] = []
  const refused = new RefusedChannels(list => told.push(list))
  const names = Array.from({ length: 64 }, (_, index) => `NAME_${index}_${'x'.repeat(index * 4)}`)
  for (const name of names) refused.add('dynamic', name)
  t.same(told, [], 'not one by one')
  refused.flush()
  t.ok(told.every(list => list.length <= 512))
  t.ok(told.length < 30, `${told.length} rows`)
  t.same(
    told.flatMap(list => list.split(', ')),
    names.map(name => `dynamic ${name}`),
  )
  refused.flush()
  t.same(told.flatMap(list => list.split(', ')).length, 64, 'and nothing twice')
})

t.test('a name cannot pass for several', async t => {
  const told: string[] = []
  const refused = new RefusedChannels(list => told.push(list))
  refused.add('dynamic', 'x, static rdpdr')
  refused.flush()
  t.same(told, ['dynamic x? static rdpdr'])
})
