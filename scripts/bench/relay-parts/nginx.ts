import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, isListening, startProcess } from '@rap/testkit'

const MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so'
const PROGRAM = '/usr/sbin/nginx'

export interface Nginx {
  readonly port: number
  readonly pid: number
  stop(): Promise<void>
}

/** True where Debian's nginx with its stream module is installed. */
export function canRunNginx(): boolean {
  return existsSync(PROGRAM) && existsSync(MODULE)
}

/** nginx as a relay from TLS to TLS, in one process, with the protocol versions that the worker uses and everything else as it comes. */
export async function startNginx(
  dir: string,
  files: { readonly certFile: string; readonly keyFile: string },
  targetPort: number,
): Promise<Nginx> {
  const port = await freePort()
  const config = join(dir, 'nginx.conf')
  writeFileSync(
    config,
    `load_module ${MODULE};
daemon off; master_process off; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log warn;
events { worker_connections 4096; }
stream {
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${files.certFile}; ssl_certificate_key ${files.keyFile};
    ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_protocols TLSv1.2 TLSv1.3;
    proxy_pass 127.0.0.1:${targetPort}; proxy_ssl on; tcp_nodelay on;
  }
}
`,
  )
  const running = await startProcess({
    name: 'nginx',
    command: PROGRAM,
    args: ['-e', join(dir, 'nginx.log'), '-c', config],
    readyWhen: () => isListening(port),
  })
  return { port, pid: running.pid, stop: async () => void (await running.stop()) }
}
