import { CHANNELS } from '@rap/session-policy'
import t from 'tap'
import { grantSummary } from '../src/policies/grant-summary.ts'

t.test('a grant is told by what is off and by what its limits are', async t => {
  const channels = CHANNELS.filter(channel => channel !== 'input')
  const limits = { idle_seconds: 300, upload_extensions: ['pdf'] }
  t.equal(
    grantSummary({ channels, limits }),
    'Use of keyboard and mouse: off · Time without activity: 5 minutes · Kinds of files: .pdf',
  )
})

t.test('one that takes nothing away says so', async t => {
  for (const document of [{}, { channels: [...CHANNELS] }, { limits: {} }])
    t.equal(grantSummary(document), 'As everybody.')
})
