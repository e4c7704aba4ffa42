import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Authority, createAuthority, issueCertificate, sha256Fingerprint } from '@rap/pki'
import { ntowfv1 } from '@rap/rdp/credssp'
import { requireProgram } from './debian-packages.ts'
import { writeDesktop } from './desktop.ts'
import { freePort } from './free-port.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { probeRdpCertificate } from './rdp-probe.ts'
import { runCommand } from './run-command.ts'
import { giveTo, serverIdentity } from './server-identity.ts'
import { tempDir } from './temp-dir.ts'
import { startXDisplay } from './x-display.ts'

export interface ShadowOptions {
  readonly username: string
  readonly password: string
  /** `nla` checks name and password by CredSSP; `tls` lets everybody in, this server has no other check. */
  readonly security: 'nla' | 'tls'
  readonly width?: number
  readonly height?: number
  readonly port?: number
  /** Signs the server's certificate; default one made for this server alone. */
  readonly authority?: Authority
  /** Names in the certificate beside `localhost` and 127.0.0.1. */
  readonly dnsNames?: readonly string[]
  readonly logFile?: string
  /** More arguments of freerdp-shadow-cli, such as `-gfx`. */
  readonly args?: readonly string[]
  /** Variables of the server's process, such as OPENSSL_CONF. */
  readonly env?: Readonly<Record<string, string>>
}

export interface ShadowServer {
  readonly host: string
  readonly port: number
  /** The certificate that the server shows, as a client saw it. */
  readonly certificatePem: string
  /** Its SHA-256 fingerprint, `AA:BB:…`. */
  readonly certificateFingerprint: string
  /** The certificate of the authority that signed it. */
  readonly authorityPem: string
  readonly display: string
  /** The working folder of the terminal: what is typed there can be seen here. */
  readonly home: string
  log(): string
  /** Runs a program on the desktop and returns its output. */
  run(command: string, args?: readonly string[]): Promise<string>
  stop(): Promise<void>
}

/**
 * A desktop (Xvfb, openbox, a terminal that has the keyboard) behind FreeRDP's shadow server on 127.0.0.1.
 *
 * Needs neither root nor an account: names and passwords are in a file of the server. Started by root, everything
 * runs as `nobody`, because whoever gets to the desktop can run programs there.
 */
export async function startShadow(options: ShadowOptions): Promise<ShadowServer> {
  const command = requireProgram('freerdp-shadow-cli3', 'freerdp-shadow-cli')
  const identity = serverIdentity('nobody')
  const scratch = tempDir('rap-shadow-')
  const started: RunningProcess[] = []
  const stop = async () => {
    for (const running of started.reverse().splice(0)) await running.stop()
    scratch.remove()
  }
  try {
    const path = (name: string) => join(scratch.path, name)
    const home = path('home')
    mkdirSync(home)
    const authority =
      options.authority ?? (await createAuthority({ name: 'Shadow server CA', days: 30, now: new Date() }))
    await writeServerFiles(scratch.path, authority, options)
    const desktop = writeDesktop(path('desktop'))
    giveTo(identity, scratch.path)

    const x = await startXDisplay({
      dir: scratch.path,
      identity,
      width: options.width ?? 1280,
      height: options.height ?? 800,
    })
    started.push(x.process)
    const env = { ...x.env, HOME: home, XDG_CONFIG_HOME: path('config'), XDG_CACHE_HOME: path('cache') }
    started.push(
      await startProcess({
        name: 'desktop',
        command: desktop.script,
        env,
        cwd: home,
        readyWhen: () => existsSync(desktop.readyFile),
        ...identity,
      }),
    )
    const port = options.port ?? (await freePort())
    const access =
      options.security === 'nla' ? ['/sec:nla', '+auth', `/sam-file:${path('sam')}`] : ['/sec:tls', '-auth']
    let der: Buffer = Buffer.alloc(0)
    const server = await startProcess({
      name: 'freerdp-shadow-cli',
      command,
      args: ['/bind-address:127.0.0.1', `/port:${port}`, ...access, ...(options.args ?? [])],
      env: { ...env, ...options.env },
      cwd: home,
      readyWhen: async () => {
        der = await probeRdpCertificate('127.0.0.1', port)
        return true
      },
      ...identity,
      ...(options.logFile === undefined ? {} : { logFile: options.logFile }),
    })
    started.push(server)
    return {
      host: '127.0.0.1',
      port,
      certificatePem: new X509Certificate(der).toString(),
      certificateFingerprint: sha256Fingerprint(der),
      authorityPem: authority.certificatePem,
      display: x.display,
      home,
      log: () => server.log(),
      run: (program, args = []) => runCommand(program, args, { env, cwd: home, ...identity }),
      stop,
    }
  } catch (err) {
    await stop()
    throw err
  }
}

async function writeServerFiles(dir: string, authority: Authority, options: ShadowOptions): Promise<void> {
  // The server takes its certificate from this folder and makes one of its own only when there is none.
  const certificates = join(dir, 'config', 'freerdp', 'shadow')
  mkdirSync(certificates, { recursive: true })
  const { certificatePem, keyPem } = await issueCertificate({
    authority,
    commonName: 'shadow',
    dnsNames: ['localhost', ...(options.dnsNames ?? [])],
    ipAddresses: ['127.0.0.1'],
    usages: ['server'],
    // FreeRDP 2 reads RSA keys only.
    keyType: 'rsa',
    now: new Date(),
  })
  writeFileSync(join(certificates, 'shadow.crt'), certificatePem)
  writeFileSync(join(certificates, 'shadow.key'), keyPem, { mode: 0o600 })
  const hash = Buffer.from(ntowfv1(Buffer.from(options.password, 'utf16le'))).toString('hex')
  writeFileSync(join(dir, 'sam'), `${options.username}:::${hash}:::\n`, { mode: 0o600 })
}
