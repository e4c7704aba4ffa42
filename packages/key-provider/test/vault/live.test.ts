import { readFileSync } from 'node:fs'
import t from 'tap'
import { contractSuite } from './contract.ts'
import { transitSuite } from './suite.ts'

const { RAP_TEST_VAULT_ADDR: address, RAP_TEST_VAULT_TOKEN: rootToken, RAP_TEST_VAULT_CACERT: caFile } = process.env

if (address === undefined || rootToken === undefined) {
  t.pass('a real server keeps the contract', { skip: 'RAP_TEST_VAULT_ADDR and RAP_TEST_VAULT_TOKEN name none' })
} else {
  const target = { address, rootToken, caPem: caFile === undefined ? '' : readFileSync(caFile, 'utf8') }
  t.test('the real server is as the contract says', t => contractSuite(t, target))
  t.test('a key of Transit', t => transitSuite(t, target))
}
