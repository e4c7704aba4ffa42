import { CHANNELS } from '@rap/session-policy'
import t from 'tap'
import { doneText } from '../src/policies/done-text.ts'

const organization = { channels: [...CHANNELS] }

t.test('whoever narrows a policy is told how many open sessions it changed', async t => {
  const layers = { before: { organization }, after: { organization: { channels: ['display' as const] } } }
  t.equal(doneText(0, layers), 'No open session was affected.')
  t.equal(doneText(1, layers), 'One open session was changed.')
  t.equal(doneText(1200, layers), '1,200 open sessions were changed.')
})

t.test('whoever turns something on is told that open sessions have it from their next connection', async t => {
  t.equal(
    doneText(0, { before: {}, after: { organization } }),
    'No open session was affected. On from the next connection: The clipboard to the desktop, ' +
      'The clipboard from the desktop, Sending files to the desktop.',
  )
})

t.test('what a resource turns on and its organization does not have is not on', async t => {
  const layers = { before: { resource: { channels: [] } }, after: { resource: { channels: [...CHANNELS] } } }
  t.notMatch(doneText(0, layers), /files/)
  t.match(doneText(0, layers), /The picture of the desktop/)
})
