/** The folder in the home where a session sees redirected drives. */
export const FUSE_MOUNT = 'thinclient_drives'

export interface XrdpIni {
  readonly port: number
  readonly certificate: string
  readonly key: string
  readonly logFile: string
  /** Changes to [Globals], such as `max_bpp` or `use_fastpath`. */
  readonly settings?: Readonly<Record<string, string>> | undefined
}

/** xrdp.ini(5) for one server on loopback that speaks TLS only and knows one kind of session. */
export function xrdpIni(options: XrdpIni): string {
  const globals = {
    ini_version: '1',
    fork: 'true',
    port: `tcp://127.0.0.1:${options.port}`,
    use_vsock: 'false',
    tcp_nodelay: 'true',
    tcp_keepalive: 'true',
    security_layer: 'tls',
    crypt_level: 'high',
    certificate: options.certificate,
    key_file: options.key,
    ssl_protocols: 'TLSv1.2, TLSv1.3',
    allow_channels: 'true',
    allow_multimon: 'true',
    bitmap_cache: 'true',
    bitmap_compression: 'true',
    bulk_compression: 'true',
    max_bpp: '32',
    new_cursors: 'true',
    use_fastpath: 'both',
    ...options.settings,
  }
  const lines = Object.entries(globals).map(([name, value]) => `${name}=${value}`)
  return `[Globals]
${lines.join('\n')}

[Logging]
LogFile=${options.logFile}
LogLevel=INFO
EnableSyslog=false

[Channels]
rdpdr=true
rdpsnd=true
drdynvc=true
cliprdr=true
rail=true

[Xorg]
name=Xorg
lib=libxup.so
username=ask
password=ask
ip=127.0.0.1
port=-1
code=20
`
}

export interface SesmanIni {
  readonly port: number
  /** The first X display number that a session may take. */
  readonly display: number
  readonly desktopScript: string
  readonly logFile: string
}

/**
 * sesman.ini(5) for sessions that run one script, on display numbers that nobody else was given. Their locale is one in which the clipboard and file names
 * can have letters beyond ASCII.
 */
export function sesmanIni(options: SesmanIni): string {
  return `[Globals]
ListenAddress=127.0.0.1
ListenPort=${options.port}
EnableUserWindowManager=false
DefaultWindowManager=${options.desktopScript}
ReconnectScript=/bin/true

[Security]
AllowRootLogin=false
MaxLoginRetry=4
AlwaysGroupCheck=false
RestrictOutboundClipboard=none
RestrictInboundClipboard=none

[Sessions]
X11DisplayOffset=${options.display}
MaxSessions=9
KillDisconnected=false
DisconnectedTimeLimit=0
IdleTimeLimit=0
Policy=Default

[SessionVariables]
LANG=C.UTF-8

[Logging]
LogFile=${options.logFile}
LogLevel=INFO
EnableSyslog=false

[Xorg]
param=/usr/lib/xorg/Xorg
param=-config
param=xrdp/xorg.conf
param=-noreset
param=-nolisten
param=tcp
param=-logfile
param=.xorgxrdp.%s.log

[Chansrv]
FuseMountName=${FUSE_MOUNT}
FileUmask=077

[ChansrvLogging]
LogLevel=INFO
EnableSyslog=false
`
}
