import { createHash, createHmac } from 'node:crypto'
import t from 'tap'
import { type KmsServer, startKms } from '../src/index.ts'

interface Change {
  readonly body?: string
  readonly headers?: Record<string, string | undefined>
  readonly sentBody?: string
  readonly region?: string
  readonly time?: string
  readonly signed?: string
}

const hmac = (key: Buffer | string, data: string): Buffer => createHmac('sha256', key).update(data).digest()
const sha256 = (data: string): string => createHash('sha256').update(data).digest('hex')

/** Signature Version 4 as AWS describes it, with what a test changes before and after it. */
async function call(
  kms: KmsServer,
  operation: string,
  change: Change = {},
): Promise<{ status: number; type?: string }> {
  const body = change.body ?? '{}'
  const time = change.time ?? new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const date = time.slice(0, 8)
  const region = change.region ?? kms.region
  const signed = change.signed ?? 'host;x-amz-date;x-amz-target'
  const headers: Record<string, string> = {
    'content-type': 'application/x-amz-json-1.1',
    host: new URL(kms.endpoint).host,
    'x-amz-date': time,
    'x-amz-target': `TrentService.${operation}`,
  }
  const lines = signed.split(';').map(name => `${name}:${headers[name]}\n`)
  const canonical = ['POST', '/', '', lines.join(''), signed, sha256(body)].join('\n')
  const scope = `${date}/${region}/kms/aws4_request`
  const key = [date, region, 'kms', 'aws4_request'].reduce<Buffer | string>(
    hmac,
    `AWS4${kms.credentials.secretAccessKey}`,
  )
  const signature = hmac(key, `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`).toString('hex')
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${kms.credentials.accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`
  const sent = Object.entries({ ...headers, ...change.headers }).filter(([, value]) => value !== undefined)
  const answer = await fetch(kms.endpoint, {
    method: 'POST',
    headers: Object.fromEntries(sent) as Record<string, string>,
    body: change.sentBody ?? body,
  })
  const { __type: type } = (await answer.json()) as { __type?: string }
  return { status: answer.status, ...(type === undefined ? {} : { type }) }
}

t.test('a signed request is answered, and one that was changed after it was signed is not', async t => {
  const kms = await startKms()
  t.teardown(() => kms.stop())
  const body = JSON.stringify({ KeyId: kms.createKey() })
  t.same(await call(kms, 'DescribeKey', { body }), { status: 200 })
  const invalid = { status: 400, type: 'InvalidSignatureException' }
  t.same(await call(kms, 'DescribeKey', { body, sentBody: `${body} ` }), invalid, 'body')
  t.same(
    await call(kms, 'DescribeKey', { body, headers: { 'x-amz-target': 'TrentService.Decrypt' } }),
    invalid,
    'target',
  )
  t.same(await call(kms, 'DescribeKey', { body, signed: 'host;x-amz-date' }), invalid, 'target not signed')
  t.same(await call(kms, 'DescribeKey', { body, region: 'us-east-1' }), invalid, 'region')
  t.same(await call(kms, 'DescribeKey', { body, time: '20200101T000000Z' }), invalid, 'time')
  t.same(await call(kms, 'DescribeKey', { body, headers: { authorization: 'AWS4-HMAC-SHA256' } }), {
    status: 400,
    type: 'IncompleteSignatureException',
  })
  t.same(await call(kms, 'DescribeKey', { body, headers: { authorization: undefined } }), {
    status: 400,
    type: 'MissingAuthenticationTokenException',
  })
})

t.test('what KMS refuses is refused by its type', async t => {
  const kms = await startKms()
  t.teardown(() => kms.stop())
  const KeyId = kms.createKey()
  const Plaintext = Buffer.from('data key').toString('base64')
  const table: [string, unknown, string][] = [
    ['CreateKey', {}, 'UnknownOperationException'],
    ['Encrypt', '', 'SerializationException'],
    ['Encrypt', { Plaintext }, 'ValidationException'],
    ['Encrypt', { KeyId }, 'ValidationException'],
    ['Encrypt', { KeyId, Plaintext: 'not base64!' }, 'ValidationException'],
    ['Encrypt', { KeyId, Plaintext: Buffer.alloc(4097).toString('base64') }, 'ValidationException'],
    ['Encrypt', { KeyId, Plaintext, EncryptionContext: { 'aws:x': '1' } }, 'ValidationException'],
    ['Encrypt', { KeyId: `${KeyId}0`, Plaintext }, 'NotFoundException'],
    ['Decrypt', { KeyId, CiphertextBlob: Plaintext }, 'InvalidCiphertextException'],
    ['GenerateDataKey', { KeyId }, 'ValidationException'],
  ]
  for (const [operation, input, type] of table) {
    const body = typeof input === 'string' ? input : JSON.stringify(input)
    t.match(await call(kms, operation, { body }), { type }, `${operation} ${body.slice(0, 90)}`)
  }
})
