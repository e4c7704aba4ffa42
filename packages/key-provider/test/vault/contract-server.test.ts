import { startTransit } from '@rap/testkit'
import t from 'tap'
import { contractSuite } from './contract.ts'
import { transitSuite } from './suite.ts'

const server = await startTransit()
t.teardown(() => server.stop())

t.test('the contract server is as the real ones are', t => contractSuite(t, server))
t.test('a key of Transit', t => transitSuite(t, server))
