import { CHANNELS, decidePolicy } from '@rap/session-policy'
import t from 'tap'
import { allowedSince } from '../src/desktop/policy/allowed-since.ts'

const everything = decidePolicy({ organization: { channels: [...CHANNELS] } })

t.test('what is allowed and not there comes with the next connection, what is off does not', async t => {
  t.same(allowedSince({ channels: new Set(['display', 'input', 'events']), decision: everything }), [
    'clipboard_client_to_server',
    'clipboard_server_to_client',
    'file_upload',
  ])
  t.same(allowedSince({ channels: new Set(CHANNELS), decision: everything }), [])
  t.same(allowedSince({ channels: new Set(['display']), decision: decidePolicy({}) }), ['input', 'events'])
})

t.test('where the server did not say, nothing is promised', async t => {
  t.same(allowedSince({ channels: new Set(), decision: undefined }), [])
})
