import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { CONTEXT, deskOn, errorOf, expectDone, policyOf, servicePolicy, type Target, under } from './helper.ts'

/** What holds on every server with the Transit API, the contract server and a real Vault or OpenBao alike. */
export async function transitSuite(t: Test, target: Target): Promise<void> {
  await t.test('create makes a derived AES-256-GCM key once', async t => {
    const desk = await deskOn(t, target)
    const source = await desk.source()
    t.equal(await source.create!(), 'main:v1')
    const { data } = (await desk.api('GET', `${desk.mount}/keys/rap`)).body
    t.match(data, {
      type: 'aes256-gcm96',
      derived: true,
      exportable: false,
      deletion_allowed: false,
      latest_version: 1,
    })
    await t.rejects(source.create!(), { code: 'ERR_KEY_EXISTS', facts: { key: `${desk.mount}/keys/rap` } })
    t.equal(await source.newestKeyId(), 'main:v1')
    t.equal(await source.health(), 'ok')
    t.match(source.key('main:v1')!.describe(), {
      key_id: 'main:v1',
      provider: 'vault',
      algorithm: 'Transit aes256-gcm96',
      location: `${target.address} ${desk.mount}/keys/rap`,
    })
  })

  await t.test('a data key of any length opens with the same key and context, as Transit’s own text', async t => {
    const source = await (await deskOn(t, target)).source()
    const key = source.key(await source.create!())!
    for (const [length, context] of [
      [1, 0],
      [2, 1],
      [32, CONTEXT.length],
      [33, 4096],
      [4096, 4096],
    ] as const) {
      const dataKey = randomBytes(length)
      const where = randomBytes(context)
      const wrapped = await key.wrap(dataKey, where)
      t.match(wrapped.toString(), /^vault:v1:[A-Za-z0-9+/]+=*$/)
      t.same(await key.unwrap(wrapped, where), dataKey, `${length} bytes`)
    }
  })

  await t.test('wrapped bytes that were moved or changed do not open', async t => {
    const desk = await deskOn(t, target)
    const source = await desk.source()
    const key = source.key(await source.create!())!
    const wrapped = await key.wrap(randomBytes(32), CONTEXT)
    await source.rotate!()
    const failed = { code: 'ERR_KEY_UNWRAP_FAILED' }
    await t.rejects(key.unwrap(wrapped, Buffer.from('organization/resource/8')), failed, 'another context')
    await t.rejects(key.unwrap(wrapped, Buffer.alloc(0)), failed, 'no context')
    const other = await desk.source({ name: 'mai' })
    await t.rejects(
      other.key('mai:v1')!.unwrap(wrapped, Buffer.concat([Buffer.from('n'), CONTEXT])),
      failed,
      'another name',
    )
    await t.rejects(source.key('main:v2')!.unwrap(wrapped, CONTEXT), failed, 'the id of another version')
    const relabelled = Buffer.from(wrapped.toString().replace('vault:v1:', 'vault:v2:'))
    await t.rejects(source.key('main:v2')!.unwrap(relabelled, CONTEXT), failed, 'the label of another version')
    const sealed = Buffer.from(wrapped.toString().slice('vault:v1:'.length), 'base64')
    for (let at = 0; at < sealed.length; at += 7) {
      const changed = Buffer.from(sealed)
      changed[at]! ^= 1
      await t.rejects(key.unwrap(Buffer.from(`vault:v1:${changed.toString('base64')}`), CONTEXT), failed, `byte ${at}`)
    }
    for (const length of [0, 1, 11, 12, 27, sealed.length - 1]) {
      const cut = Buffer.from(`vault:v1:${sealed.subarray(0, length).toString('base64')}`)
      await t.rejects(key.unwrap(cut, CONTEXT), failed, `${length} bytes`)
    }
  })

  await t.test('every version wraps and opens its own, and rotation makes a new one', async t => {
    const source = await (await deskOn(t, target)).source()
    t.equal(await source.create!(), 'main:v1')
    t.equal(await source.rotate!(), 'main:v2')
    t.equal(await source.rotate!(), 'main:v3')
    t.equal(await source.newestKeyId(), 'main:v3')
    for (const version of [1, 2, 3]) {
      const key = source.key(`main:v${version}`)!
      const dataKey = randomBytes(32)
      const wrapped = await key.wrap(dataKey, CONTEXT)
      t.ok(wrapped.toString().startsWith(`vault:v${version}:`))
      t.same(await key.unwrap(wrapped, CONTEXT), dataKey)
    }
  })

  await t.test('a data key is made by the server, fresh, of 256 bits, under the version that was asked', async t => {
    const source = await (await deskOn(t, target)).source()
    await source.create!()
    await source.rotate!()
    for (const keyId of ['main:v1', 'main:v2']) {
      const key = source.key(keyId)!
      const made = await key.generateDataKey!(CONTEXT)
      t.equal(made.dataKey.length, 32)
      t.ok(made.wrapped.toString().startsWith(`vault:${keyId.slice(5)}:`))
      t.same(await key.unwrap(made.wrapped, CONTEXT), made.dataKey)
      t.notSame((await key.generateDataKey!(CONTEXT)).dataKey, made.dataKey)
      await t.rejects(key.unwrap(made.wrapped, Buffer.from('elsewhere')), { code: 'ERR_KEY_UNWRAP_FAILED' })
    }
  })

  await t.test('rewrap moves a data key to another version, bound to the same context', async t => {
    const source = await (await deskOn(t, target)).source()
    await source.create!()
    const dataKey = randomBytes(32)
    const wrapped = await source.key('main:v1')!.wrap(dataKey, CONTEXT)
    const newest = source.key(await source.rotate!())!
    const again = await newest.rewrap!(under(wrapped), CONTEXT)
    t.ok(again.toString().startsWith('vault:v2:'))
    t.same(await newest.unwrap(again, CONTEXT), dataKey)
    const failed = { code: 'ERR_KEY_UNWRAP_FAILED' }
    await t.rejects(newest.rewrap!(under(wrapped), Buffer.from('elsewhere')), failed, 'another context')
    await t.rejects(newest.rewrap!({ keyId: 'main:v2', wrapped }, CONTEXT), failed, 'under the id of another version')
    await t.rejects(newest.rewrap!(under(Buffer.from('vault:v1:AAAA')), CONTEXT), failed, 'no ciphertext')
    await t.rejects(newest.unwrap(again, Buffer.from('elsewhere')), failed)
  })

  await t.test('an archived version neither opens nor wraps, and is told apart from a wrong context', async t => {
    const desk = await deskOn(t, target)
    const source = await desk.source()
    await source.create!()
    const wrapped = await source.key('main:v1')!.wrap(randomBytes(32), CONTEXT)
    await source.rotate!()
    await expectDone(desk.api('POST', `${desk.mount}/keys/rap/config`, { min_decryption_version: 2 }))
    const archived = { code: 'ERR_KEY_VERSION_ARCHIVED', facts: { reason: 'archived' } }
    await t.rejects(source.key('main:v1')!.unwrap(wrapped, CONTEXT), archived)
    await t.rejects(source.key('main:v2')!.rewrap!(under(wrapped), CONTEXT), archived)
    // The server itself would wrap with it, and never open that again.
    const later = await desk.source()
    await t.rejects(later.key('main:v1')!.wrap(randomBytes(32), CONTEXT), archived)
    await t.rejects(later.key('main:v1')!.generateDataKey!(CONTEXT), archived)
    t.equal(await later.key('main:v1')!.health(), 'the version is archived')
    t.equal(await later.key('main:v2')!.health(), 'ok')
    await expectDone(
      desk.api('POST', `${desk.mount}/keys/rap/config`, { min_encryption_version: 2, min_decryption_version: 1 }),
    )
    const third = await desk.source()
    await t.rejects(third.key('main:v1')!.wrap(randomBytes(32), CONTEXT), archived, 'closed for encryption alone')
    t.equal((await third.key('main:v1')!.unwrap(wrapped, CONTEXT)).length, 32)
  })

  await t.test('a missing key, version or mount is named, and no key is made by the way', async t => {
    const desk = await deskOn(t, target)
    const source = await desk.source()
    await t.rejects(source.newestKeyId(), { code: 'ERR_KEY_NOT_FOUND', facts: { reason: 'key', source: 'main' } })
    await t.rejects(source.key('main:v1')!.wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_NOT_FOUND' })
    await t.rejects(source.rotate!(), { code: 'ERR_KEY_NOT_FOUND' })
    t.equal((await desk.api('GET', `${desk.mount}/keys/rap`)).status, 404)
    t.equal(await source.health(), 'the server has no such Transit key (status 404)')
    await source.create!()
    const absent = { code: 'ERR_KEY_NOT_FOUND', facts: { reason: 'version' } }
    await t.rejects(source.key('main:v2')!.wrap(randomBytes(32), CONTEXT), absent)
    await t.rejects(source.key('main:v2')!.generateDataKey!(CONTEXT), absent)
    const bytes = Buffer.from(`vault:v2:${randomBytes(60).toString('base64')}`)
    await t.rejects(source.key('main:v2')!.unwrap(bytes, CONTEXT), absent)
    t.equal(await source.key('main:v2')!.health(), 'the key has no such version')
    const elsewhere = await desk.source({ mount: `${desk.mount}-none` })
    await t.rejects(elsewhere.newestKeyId(), { code: 'ERR_KEY_NOT_FOUND', facts: { reason: 'path' } })
  })

  await t.test(
    'a key that is not derived would ignore the context, and is refused with the commands that help',
    async t => {
      const desk = await deskOn(t, target)
      await expectDone(desk.api('POST', `${desk.mount}/keys/rap`, { type: 'aes256-gcm96' }))
      const source = await desk.source()
      const refused = { code: 'ERR_KEY_CONFIGURATION', facts: { rule: 'derived', key: `${desk.mount}/keys/rap` } }
      const bytes = Buffer.from(`vault:v1:${randomBytes(60).toString('base64')}`)
      for (const use of [
        () => source.newestKeyId(),
        () => source.rotate!(),
        () => source.key('main:v1')!.wrap(randomBytes(32), CONTEXT),
        () => source.key('main:v1')!.unwrap(bytes, CONTEXT),
        () => source.key('main:v1')!.rewrap!(under(bytes), CONTEXT),
        () => source.key('main:v1')!.generateDataKey!(CONTEXT),
      ]) {
        await t.rejects(async () => await use(), refused)
      }
      const { facts } = await errorOf(source.newestKeyId())
      t.match(facts?.remedy, `vault write -f ${desk.mount}/keys/rap-2 type=aes256-gcm96 derived=true`)
      t.match(facts?.remedy, `bao write -f ${desk.mount}/keys/rap-2 type=aes256-gcm96 derived=true`)
      t.match(await source.health(), 'not derived')
      t.equal((await desk.api('GET', `${desk.mount}/keys/rap`)).body.data.latest_version, 1, 'and was not rotated')
    },
  )

  await t.test('a convergent key and a key that may be exported wrap nothing', async t => {
    const desk = await deskOn(t, target)
    const make = (key: string, settings: object) =>
      expectDone(desk.api('POST', `${desk.mount}/keys/${key}`, { type: 'aes256-gcm96', derived: true, ...settings }))
    await make('convergent', { convergent_encryption: true })
    await make('exportable', { exportable: true })
    await make('backup', { allow_plaintext_backup: true })
    for (const [key, rule] of [
      ['convergent', 'convergent_encryption'],
      ['exportable', 'exportable'],
      ['backup', 'allow_plaintext_backup'],
    ] as const) {
      const source = await desk.source({ key })
      await t.rejects(source.key('main:v1')!.wrap(randomBytes(32), CONTEXT), {
        code: 'ERR_KEY_CONFIGURATION',
        facts: { rule },
      })
    }
  })

  await t.test('what was wrapped before a key became exportable still opens', async t => {
    const desk = await deskOn(t, target)
    const source = await desk.source()
    await source.create!()
    const dataKey = randomBytes(32)
    const wrapped = await source.key('main:v1')!.wrap(dataKey, CONTEXT)
    await expectDone(desk.api('POST', `${desk.mount}/keys/rap/config`, { exportable: true, deletion_allowed: true }))
    const warnings: unknown[] = []
    const logger = { info: () => {}, warn: (fields: unknown) => warnings.push(fields) }
    const later = await desk.source({}, { logger, allowPlainHttp: target.address.startsWith('http:') })
    t.same(await later.key('main:v1')!.unwrap(wrapped, CONTEXT), dataKey)
    t.match(warnings, [{ event: 'vault_key_settings', settings: 'deletion_allowed, exportable' }])
    await t.rejects(later.newestKeyId(), { code: 'ERR_KEY_CONFIGURATION' })
  })

  await t.test('the least policy is enough to use a key, and not to rotate or make one', async t => {
    const desk = await deskOn(t, target)
    await (await desk.source()).create!()
    const auth = await desk.appRole(servicePolicy(desk.mount, 'rap'))
    const source = await desk.source({ auth })
    const key = source.key(await source.newestKeyId())!
    const dataKey = randomBytes(32)
    const wrapped = await key.wrap(dataKey, CONTEXT)
    t.same(await key.unwrap(wrapped, CONTEXT), dataKey)
    t.same(await key.unwrap(await key.rewrap!(under(wrapped), CONTEXT), CONTEXT), dataKey)
    const made = await key.generateDataKey!(CONTEXT)
    t.same(await key.unwrap(made.wrapped, CONTEXT), made.dataKey)
    t.equal(await source.health(), 'ok')
    const forbidden = { code: 'ERR_KEY_FORBIDDEN', facts: { status: 403, reason: 'forbidden' } }
    await t.rejects(source.rotate!(), forbidden)
    await t.rejects((await desk.source({ key: 'other', auth })).newestKeyId(), forbidden, 'another key')
  })

  await t.test('the administrator’s policy is enough to make and rotate a key, and not to use it', async t => {
    const desk = await deskOn(t, target)
    const source = await desk.source({ auth: await desk.appRole(policyOf('rap-administrator', desk.mount, 'rap')) })
    t.equal(await source.create!(), 'main:v1')
    t.equal(await source.rotate!(), 'main:v2')
    await t.rejects(source.key('main:v2')!.wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_FORBIDDEN' })
  })

  await t.test('a wrong credential is forbidden, and says so without the credential', async t => {
    const desk = await deskOn(t, target)
    await (await desk.source()).create!()
    const auth = (await desk.appRole(servicePolicy(desk.mount, 'rap'))) as {
      method: 'approle'
      role_id_file: string
      secret_id_file: string
    }
    const wrong = await desk.file('5f4dcc3b-5aa7-65d6-1d83-27deb882cf99')
    const forbidden = { code: 'ERR_KEY_FORBIDDEN' }
    for (const credential of [
      { ...auth, secret_id_file: wrong },
      { ...auth, role_id_file: wrong },
      { method: 'token' as const, token_file: wrong },
    ]) {
      const error = await errorOf((await desk.source({ auth: credential })).newestKeyId())
      t.match(error, forbidden)
      t.notMatch(JSON.stringify([error, error.message, error.stack]), '5f4dcc3b')
    }
  })

  await t.test('a token that ends is replaced in time, however often', async t => {
    const desk = await deskOn(t, target)
    await (await desk.source()).create!()
    const auth = await desk.appRole(servicePolicy(desk.mount, 'rap'), { token_ttl: '2s', token_max_ttl: '4s' })
    const source = await desk.source({ auth })
    const key = source.key(await source.newestKeyId())!
    const dataKey = randomBytes(32)
    const end = performance.now() + 5000
    let uses = 0
    for (; performance.now() < end || uses <= 5; uses++) {
      t.same(await key.unwrap(await key.wrap(dataKey, CONTEXT), CONTEXT), dataKey)
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  })

  await t.test('many callers at once share what can be shared, and each gets its own answer', async t => {
    const desk = await deskOn(t, target)
    await (await desk.source()).create!()
    const source = await desk.source({ auth: await desk.appRole(servicePolicy(desk.mount, 'rap')) })
    const key = source.key('main:v1')!
    const dataKeys = Array.from({ length: 60 }, () => randomBytes(32))
    const opened = await Promise.all(
      dataKeys.map(async (dataKey, row) => {
        const context = Buffer.from(`row ${row}`)
        return await key.unwrap(await key.wrap(dataKey, context), context)
      }),
    )
    t.same(opened, dataKeys)
  })
}
