import { spawnSync } from 'node:child_process'
import { chmodSync, closeSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { tempDir } from '@rap/testkit'
import t, { type Test } from 'tap'
import { open, place, refusedOpen, TestControlPlane } from './control-plane.ts'

const ID = '0b5c2f8e-7a51-4c58-9c11-2f2f5b0c1d3e'
const isRoot = process.getuid?.() === 0

const mount = (dir: string) =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tmpfs', dir], { encoding: 'utf8' })

/** Why no disk of a few kilobytes can be had here; false where one can. */
function whyNoDisk(): string | false {
  if (!isRoot) return 'mounting a small disk needs root'
  const dir = tempDir('rap-identity-')
  try {
    const { status, stderr } = mount(dir.path)
    if (status !== 0) return `no disk can be mounted here: ${stderr.trim()}`
    spawnSync('umount', [dir.path])
    return false
  } finally {
    dir.remove()
  }
}

/** A disk of a few kilobytes. */
function smallDisk(t: Test): string {
  const dir = join(place(t), 'disk')
  mkdirSync(dir)
  mount(dir)
  t.teardown(() => spawnSync('umount', [dir]))
  return dir
}

const disks = { skip: whyNoDisk() }

/** Writes until nothing more fits. */
function fill(dir: string): void {
  const file = openSync(join(dir, 'ballast'), 'w')
  for (const size of [65_536, 4096, 1]) {
    try {
      for (;;) writeSync(file, Buffer.alloc(size))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }
  closeSync(file)
}

t.test('on a full disk no certificate is asked for, and the old one stays in use', disks, async t => {
  const disk = smallDisk(t)
  const controlPlane = await TestControlPlane.start(t)
  const dir = join(disk, 'identity')
  const { identity, log } = await open(t, controlPlane, { dir, token: controlPlane.joinToken('worker', ID) })
  t.teardown(() => identity.close())
  const before = identity.material
  fill(disk)
  controlPlane.clock.pass(17)
  await identity.check()
  t.same(controlPlane.paths('/internal/v1/identity/certificates'), [])
  t.equal(identity.material, before)
  t.match(log.text(), /no space left on the disk/)
  controlPlane.clock.pass(3)
  await identity.check()
  t.match(identity.status(), /^renewal overdue since .*identity\.next\.pem: no space left on the disk/)

  rmSync(join(disk, 'ballast'))
  await identity.check()
  t.equal(identity.status(), 'ok')
  t.not(identity.material, before)
})

t.test('a disk that fills up between request and answer has room for the answer', disks, async t => {
  const disk = smallDisk(t)
  const controlPlane = await TestControlPlane.start(t)
  const dir = join(disk, 'identity')
  const { identity } = await open(t, controlPlane, { dir, token: controlPlane.joinToken('worker', ID) })
  t.teardown(() => identity.close())
  controlPlane.before = path => {
    if (path === '/internal/v1/identity/certificates') fill(disk)
  }
  controlPlane.clock.pass(17)
  await identity.check()
  t.equal(controlPlane.paths('/internal/v1/identity/certificates').length, 1)
  t.equal(identity.status(), 'ok')
  identity.close()
  await controlPlane.stop()
  const again = await open(t, controlPlane, { dir: join(disk, 'identity') })
  t.same(again.identity.material, identity.material)
})

t.test('without room for the key a join token is not spent', disks, async t => {
  const disk = smallDisk(t)
  const controlPlane = await TestControlPlane.start(t)
  const dir = join(disk, 'identity')
  mkdirSync(dir)
  const token = controlPlane.joinToken('worker', ID)
  const tokens = join(place(t), 'token')
  writeFileSync(tokens, token)
  fill(disk)
  const error = await refusedOpen(t, controlPlane, { dir, env: { RAP_JOIN_TOKEN_FILE: tokens } })
  t.match(error, { code: 'ERR_IDENTITY_STORAGE', isLasting: false, message: /no space left on the disk/ })
  t.same(controlPlane.paths('/v1/enroll'), [])
  rmSync(join(disk, 'ballast'))
  t.equal((await open(t, controlPlane, { dir, env: { RAP_JOIN_TOKEN_FILE: tokens } })).identity.status(), 'ok')
})

t.test('a directory that refuses writes is named', { skip: isRoot && 'root may write anywhere' }, async t => {
  const controlPlane = await TestControlPlane.start(t)
  const dir = join(place(t), 'sealed')
  mkdirSync(dir)
  chmodSync(dir, 0o500)
  const error = await refusedOpen(t, controlPlane, { dir, token: controlPlane.joinToken('worker', ID) })
  t.match(error, { code: 'ERR_IDENTITY_STORAGE', message: new RegExp(`^${dir}.*may not read or write`) })
  t.same(readdirSync(dir), [])
})
