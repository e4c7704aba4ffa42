import { randomUUID } from 'node:crypto'
import { ConfigError, loadConfig } from '@rap/service-kit'
import t from 'tap'
import { checkConfig, configSchema, labelsOf, targetPolicy } from '../src/config.ts'

const ENV = {
  APP_ENV: 'production',
  RAP_PLATFORM_CA_FILE: '/ca.pem',
  RAP_TLS_CERT_FILE: '/worker.pem',
  RAP_TLS_KEY_FILE: '/worker.key',
  RDP_WORKER_ID: randomUUID(),
  RDP_WORKER_PUBLIC_URL: 'wss://worker.example:8463/data-plane/v1',
  RDP_WORKER_DATA_PLANE_TLS_CERT_FILE: '/public.pem',
  RDP_WORKER_DATA_PLANE_TLS_KEY_FILE: '/public.key',
  CONTROL_PLANE_JWKS_URL: 'https://control-plane.example/.well-known/jwks.json',
  CONTROL_PLANE_INTERNAL_URL: 'https://control-plane.example:8444',
  SECRET_RESOLVER_URL: 'https://secret-resolver.example',
  REDIS_URL: 'redis://localhost',
} as const

function load(changes: Readonly<Record<string, string | undefined>> = {}) {
  return loadConfig(configSchema, { ...ENV, ...changes }, { check: checkConfig })
}

function variablesRefused(changes: Readonly<Record<string, string | undefined>>): string[] {
  try {
    load(changes)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.issues.map(({ variable }) => variable)
  }
}

t.test('the keys of tokens come from exactly one place', async t => {
  t.same(variablesRefused({}), [])
  t.same(variablesRefused({ CONTROL_PLANE_JWKS_URL: undefined, RDP_WORKER_DATA_PLANE_PUBLIC_KEY_PEM: 'PEM' }), [])
  t.same(variablesRefused({ CONTROL_PLANE_JWKS_URL: undefined, RDP_WORKER_DATA_PLANE_PUBLIC_KEY_FILE: '/key' }), [])
  t.same(variablesRefused({ CONTROL_PLANE_JWKS_URL: undefined }), ['CONTROL_PLANE_JWKS_URL'])
  t.same(variablesRefused({ RDP_WORKER_DATA_PLANE_PUBLIC_KEY_FILE: '/key' }), ['CONTROL_PLANE_JWKS_URL'])
})

t.test('the public URL is a data plane over TLS, without a query or a credential', async t => {
  for (const url of [
    'ws://worker.example/data-plane/v1',
    'https://worker.example/data-plane/v1',
    'wss://worker.example/',
    'wss://worker.example/data-plane/v1/',
    'wss://worker.example/data-plane/v1?token=x',
    'wss://worker.example/data-plane/v1#x',
    'wss://user@worker.example/data-plane/v1',
  ]) {
    t.same(variablesRefused({ RDP_WORKER_PUBLIC_URL: url }), ['RDP_WORKER_PUBLIC_URL'], url)
  }
})

t.test('an id that is no UUID, a label without a value and a target rule out of form stop the start', async t => {
  t.same(variablesRefused({ RDP_WORKER_ID: 'worker-1' }), ['RDP_WORKER_ID'])
  t.same(variablesRefused({ RDP_WORKER_LABELS: 'site' }), ['RDP_WORKER_LABELS'])
  t.same(variablesRefused({ RDP_WORKER_TARGET_ALLOW: '10.0.0.0/99' }), ['RDP_WORKER_TARGET_ALLOW'])
})

t.test('labels keep what is behind the first equals sign', async t => {
  t.same(labelsOf(load({ RDP_WORKER_LABELS: 'site=berlin,zone=' })), { site: 'berlin', zone: '' })
})

t.test('this machine may be dialled outside production, and nowhere when a list says otherwise', async t => {
  const allows = (changes: Readonly<Record<string, string>>, address: string): boolean =>
    targetPolicy(load(changes)).allowsAddress(address, false)
  t.equal(allows({}, '127.0.0.1'), false)
  t.equal(allows({ APP_ENV: 'development' }, '127.0.0.1'), true)
  t.equal(allows({ APP_ENV: 'development' }, '169.254.169.254'), false)
  t.equal(allows({ APP_ENV: 'development', RDP_WORKER_TARGET_ALLOW: '10.0.0.0/8' }, '127.0.0.1'), false)
  t.equal(allows({ RDP_WORKER_TARGET_ALLOW: '127.0.0.0/8' }, '127.0.0.1'), true)
})

t.test('uploads go to an absolute path, if to any that is named', async t => {
  t.same(variablesRefused({ RDP_WORKER_UPLOAD_DIR: 'uploads' }), ['RDP_WORKER_UPLOAD_DIR'])
  t.same(variablesRefused({ RDP_WORKER_UPLOAD_DIR: '/var/lib/rap/uploads', RDP_WORKER_UPLOAD_MAX_BYTES: '0' }), [])
  t.same(variablesRefused({ RDP_WORKER_UPLOAD_MAX_BYTES: '-1' }), ['RDP_WORKER_UPLOAD_MAX_BYTES'])
})
