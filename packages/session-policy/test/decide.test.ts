import fc from 'fast-check'
import t from 'tap'
import { CHANNELS } from '../src/channels.ts'
import { decidePolicy, effectivePolicy, type PolicyLayers } from '../src/decide.ts'
import { explainChannel } from '../src/explain.ts'
import { LIMITS, NUMBER_LIMITS, narrower } from '../src/limits.ts'
import { DEFAULT_POLICY } from '../src/policy.ts'

const channels = fc.option(fc.subarray([...CHANNELS]), { nil: undefined })
const limits = fc.option(
  fc.record(
    {
      ...Object.fromEntries(
        NUMBER_LIMITS.map(name => {
          const value = fc.integer({ min: LIMITS[name].min, max: LIMITS[name].max })
          return [name, LIMITS[name].default === null ? fc.option(value) : value]
        }),
      ),
      upload_extensions: fc.option(fc.subarray(['txt', 'pdf', 'png', ''])),
    },
    { requiredKeys: [] },
  ),
  { nil: undefined },
)
const document = fc.option(fc.record({ channels, limits }), { nil: undefined })
const layers = fc.record({ organization: document, resource: document, grant: document }) as fc.Arbitrary<PolicyLayers>

t.test('without a policy the default holds: picture, keys and notices, and no data in or out', async t => {
  t.same(effectivePolicy(decidePolicy({})), DEFAULT_POLICY)
  t.same(DEFAULT_POLICY.channels, ['display', 'input', 'events'])
})

t.test('INVARIANT: resource and grant never make a session wider than its organization', async t => {
  fc.assert(
    fc.property(layers, given => {
      const whole = effectivePolicy(decidePolicy(given))
      const { organization } = given
      const outer = effectivePolicy(decidePolicy(organization === undefined ? {} : { organization }))
      if (!whole.channels.every(channel => outer.channels.includes(channel))) return false
      return NUMBER_LIMITS.every(name => narrower(name, whole.limits[name], outer.limits[name]) === whole.limits[name])
    }),
  )
  t.pass()
})

t.test('the narrowest of every scope wins, whichever scope it is', async t => {
  fc.assert(
    fc.property(layers, given => {
      const { channels: decided } = decidePolicy(given)
      return CHANNELS.every(channel => {
        const asked = [
          given.organization?.channels ?? DEFAULT_POLICY.channels,
          given.resource?.channels,
          given.grant?.channels,
        ]
        return decided[channel].allowed === asked.every(list => list?.includes(channel) ?? true)
      })
    }),
  )
  t.pass()
})

t.test('a decision names the scope that made it', async t => {
  const { channels, limits } = decidePolicy({
    organization: { channels: [...CHANNELS], limits: { idle_seconds: 3600, upload_extensions: ['txt', 'pdf'] } },
    resource: { channels: ['display', 'input', 'clipboard_client_to_server'], limits: { idle_seconds: 7200 } },
    grant: { channels: ['display'], limits: { upload_extensions: ['pdf', 'exe'] } },
  })
  t.same(channels.display, { allowed: true, decided_by: 'organization' })
  t.same(channels.clipboard_server_to_client, { allowed: false, decided_by: 'resource' })
  t.same(channels.input, { allowed: false, decided_by: 'grant' })
  t.same(
    limits.idle_seconds,
    { value: 3600, decided_by: 'organization' },
    'a wider one of the resource changes nothing',
  )
  t.same(limits.upload_extensions, { value: ['pdf'], decided_by: 'grant' })
  t.same(limits.clipboard_bytes, { value: 2 ** 20, decided_by: 'default' })
})

t.test('an extension list that leaves nothing stays a list that leaves nothing', async t => {
  const { limits } = decidePolicy({
    organization: { limits: { upload_extensions: ['txt'] } },
    resource: { limits: { upload_extensions: ['pdf'] } },
    grant: { limits: { upload_extensions: null } },
  })
  t.same(limits.upload_extensions.value, [])
})

t.test('a person is told what is off, and where that was decided', async t => {
  t.equal(
    explainChannel('clipboard_server_to_client', { allowed: false, decided_by: 'resource' }),
    'The clipboard from the desktop is off by policy: set for this resource.',
  )
})
