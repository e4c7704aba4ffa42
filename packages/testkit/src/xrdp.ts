import { spawnSync } from 'node:child_process'
import { randomInt, X509Certificate } from 'node:crypto'
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Authority, createAuthority, issueCertificate, sha256Fingerprint } from '@rap/pki'
import { findProgram, missingDebianPackages } from './debian-packages.ts'
import { writeDesktop } from './desktop.ts'
import { TestkitError } from './errors.ts'
import { freePort } from './free-port.ts'
import { guardCommand, releaseCommand, shellQuote } from './guard.ts'
import { isListening } from './is-listening.ts'
import { acquireMachineLock } from './machine-lock.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { probeRdpCertificate } from './rdp-probe.ts'
import { tempDir } from './temp-dir.ts'
import { createThrowawayUser, endProcess, processesWithArgument, type ThrowawayUser } from './throwaway-user.ts'
import { FUSE_MOUNT, sesmanIni, xrdpIni } from './xrdp-config.ts'

export interface XrdpOptions {
  /** Signs the server's certificate; default one made for this server alone. */
  readonly authority?: Authority
  readonly dnsNames?: readonly string[]
  readonly port?: number
  readonly logFile?: string
  /** Changes to [Globals] of xrdp.ini(5), such as `max_bpp` or `use_fastpath`. */
  readonly settings?: Readonly<Record<string, string>>
}

export interface XrdpServer {
  readonly host: string
  readonly port: number
  /** A throw-away account of this machine, deleted by `stop`. */
  readonly username: string
  readonly password: string
  /** The certificate that the server shows, as a client saw it. */
  readonly certificatePem: string
  readonly certificateFingerprint: string
  readonly authorityPem: string
  /** The account's home: what is typed into the terminal of the session can be seen here. */
  readonly home: string
  /** DISPLAY and XAUTHORITY of its first session, once that is there. */
  readonly env: Readonly<Record<string, string>>
  /** Tells whether the shell of a session has started. */
  isShellReady(): boolean
  log(): string
  stop(): Promise<void>
}

const XRDP = '/usr/sbin/xrdp'
const SESMAN = '/usr/sbin/xrdp-sesman'
/** xrdp 0.9 learns the session manager's port from this file, wherever its own configuration is. */
const SYSTEM_SESMAN_INI = '/etc/xrdp/sesman.ini'
const DEFAULT_SESMAN_PORT = 3350
/** How long to wait for another test's server when only one can be there at a time: longer than any test has one. */
const TURN_TIMEOUT_MS = 600_000

export type XrdpAbility =
  /** Without `parallel`, servers take turns: a second one waits until the first is stopped. */
  { readonly ok: true; readonly parallel: boolean } | { readonly ok: false; readonly reason: string }

/** Tells whether `startXrdp` can work on this machine, or why not. */
export function canStartXrdp(): XrdpAbility {
  if (process.getuid?.() !== 0) return { ok: false, reason: 'xrdp needs root: it logs in an account of this machine' }
  const programs = [
    XRDP,
    SESMAN,
    '/usr/lib/xorg/modules/drivers/xrdpdev_drv.so',
    'openbox',
    'xterm',
    'useradd',
    'pkill',
  ]
  const absent = programs.filter(name => findProgram(name) === undefined)
  if (absent.length > 0) {
    return { ok: false, reason: `not installed: ${absent.join(', ')} (packages: ${missingDebianPackages().join(' ')})` }
  }
  const version = spawnSync(XRDP, ['--version'], { encoding: 'utf8' }).stdout.match(/xrdp (\d+\.\d+)/)?.[1]
  // From 0.10 on the session manager listens on a socket under /run that is shared by the machine.
  if (version !== '0.9')
    return { ok: false, reason: `xrdp ${version} is not the series 0.9 that this helper can isolate` }
  const parallel = canMount()
  if (!parallel && isSystemSesmanRunning()) {
    return { ok: false, reason: 'the session manager of this machine holds the only port, and mounting is not allowed' }
  }
  return { ok: true, parallel }
}

/**
 * An xrdp server of its own on 127.0.0.1: TLS only, one throw-away account, its session a terminal in Xorg.
 *
 * Nothing of the machine's own xrdp is changed or used but its program files and keyboard maps. Needs root.
 * Throws TestkitError NOT_SUPPORTED with the reason of `canStartXrdp`.
 */
export async function startXrdp(options: XrdpOptions = {}): Promise<XrdpServer> {
  const able = canStartXrdp()
  if (!able.ok) throw new TestkitError('ERR_TESTKIT_NOT_SUPPORTED', able.reason)
  const scratch = tempDir('rap-xrdp-')
  chmodSync(scratch.path, 0o711)
  const path = (name: string) => join(scratch.path, name)
  const started: RunningProcess[] = []
  let user: ThrowawayUser | undefined
  let releasePort = () => {}
  const display = randomInt(200, 5_000) * 10
  const stop = async () => {
    // The front first, so that nobody comes in; the session manager ends when its sessions have.
    for (const running of started.reverse().splice(0)) await running.stop()
    await user?.remove()
    for (const pid of processesWithArgument(scratch.path)) endProcess(pid, 'SIGKILL')
    unmountDrives(path('home'))
    releaseCommand(`drives of ${path('home')}`)
    removeDisplayFiles(display)
    releasePort()
    scratch.remove()
  }
  try {
    const authority = options.authority ?? (await createAuthority({ name: 'xrdp CA', days: 30, now: new Date() }))
    await writeCertificate(scratch.path, authority, options.dnsNames ?? [])
    const home = path('home')
    user = await createThrowawayUser(home)
    guardCommand(`drives of ${home}`, `umount --lazy ${shellQuote(join(home, FUSE_MOUNT))} 2>/dev/null`)
    const desktop = writeDesktop(path('desktop'))
    // The session's shell tells here that it is ready, so its user must be able to write.
    chmodSync(path('desktop'), 0o1777)

    const port = options.port ?? (await freePort())
    const logFile = options.logFile ?? path('xrdp.log')
    const sesman = await sesmanPlace(path('sesman.ini'))
    releasePort = sesman.release
    const certificate = path('cert.pem')
    const key = path('key.pem')
    writeFileSync(path('sesman.ini'), sesmanIni({ port: sesman.port, display, desktopScript: desktop.script, logFile }))
    const { settings } = options
    writeFileSync(path('xrdp.ini'), xrdpIni({ port, certificate, key, logFile, settings }))
    started.push(
      await startProcess({
        name: 'xrdp-sesman',
        command: SESMAN,
        args: ['-n', '-c', path('sesman.ini')],
        readyWhen: () => isSesmanListening(sesman.port),
      }),
    )
    let der: Buffer = Buffer.alloc(0)
    const [command = '', ...args] = [...sesman.wrap, XRDP, '-n', '-c', path('xrdp.ini')]
    started.push(
      await startProcess({
        name: 'xrdp',
        command,
        args,
        readyWhen: async () => {
          der = await probeRdpCertificate('127.0.0.1', port)
          return true
        },
      }),
    )
    return {
      host: '127.0.0.1',
      port,
      username: user.name,
      password: user.password,
      certificatePem: new X509Certificate(der).toString(),
      certificateFingerprint: sha256Fingerprint(der),
      authorityPem: authority.certificatePem,
      home,
      env: { DISPLAY: `:${display}`, XAUTHORITY: join(home, '.Xauthority') },
      isShellReady: () => existsSync(desktop.readyFile),
      log: () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : ''),
      stop,
    }
  } catch (err) {
    await stop()
    throw err
  }
}

async function writeCertificate(dir: string, authority: Authority, dnsNames: readonly string[]): Promise<void> {
  const { certificatePem, keyPem } = await issueCertificate({
    authority,
    commonName: 'xrdp',
    dnsNames: ['localhost', ...dnsNames],
    ipAddresses: ['127.0.0.1'],
    usages: ['server'],
    keyType: 'rsa',
    now: new Date(),
  })
  writeFileSync(join(dir, 'cert.pem'), certificatePem)
  writeFileSync(join(dir, 'key.pem'), keyPem, { mode: 0o600 })
}

interface SesmanPlace {
  readonly port: number
  /** Command words in front of xrdp's own, that put our file in the place of the system's for this process alone. */
  readonly wrap: readonly string[]
  release(): void
}

/**
 * A port for the session manager. With mount namespaces every server has its own; without them (a container that may
 * not mount), servers take turns at the port of the machine's configuration.
 */
async function sesmanPlace(ownIni: string): Promise<SesmanPlace> {
  if (canMount()) {
    const script = `mount --bind '${ownIni}' ${SYSTEM_SESMAN_INI} && exec "$@"`
    const wrap = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh']
    return { port: await freePort(), wrap, release: () => {} }
  }
  const port = systemSesmanPort()
  const release = await acquireMachineLock(`sesman-${port}`, TURN_TIMEOUT_MS)
  return { port, wrap: [], release }
}

function systemSesmanPort(): number {
  const configured = readFileSync(SYSTEM_SESMAN_INI, 'utf8').match(/^ListenPort=(\d+)/m)?.[1]
  return Number(configured ?? DEFAULT_SESMAN_PORT)
}

/** The session manager that a service manager started: it runs with the configuration of the machine. */
function isSystemSesmanRunning(): boolean {
  return processesWithArgument(SESMAN).some(pid => !processesWithArgument('/sesman.ini').includes(pid))
}

/** Tells whether this process may make mount namespaces; most containers may not. */
function canMount(): boolean {
  return spawnSync('unshare', ['--mount', 'true']).status === 0
}

/** Told to listen on 127.0.0.1, the session manager takes ::1 where there is IPv6. */
async function isSesmanListening(port: number): Promise<boolean> {
  return (await isListening(port, '::1')) || (await isListening(port, '127.0.0.1'))
}

/** A session that was killed leaves its FUSE mount for redirected drives in the home. */
function unmountDrives(home: string): void {
  for (const [, mount] of readFileSync('/proc/mounts', 'utf8').matchAll(/^\S+ (\S+) /gm)) {
    if (mount?.startsWith(`${home}/`)) spawnSync('umount', ['--lazy', mount])
  }
}

/** What an X server and its session leave when they are killed. */
function removeDisplayFiles(firstDisplay: number): void {
  for (let display = firstDisplay; display < firstDisplay + 10; display++) {
    rmSync(`/tmp/.X${display}-lock`, { force: true })
    rmSync(`/tmp/.X11-unix/X${display}`, { force: true })
  }
}
