import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { findProgram, requireProgram, startProcess, tempDir, waitFor } from '@rap/testkit'

/** Tells why packets cannot be captured here, or undefined. */
export function cannotCapture(): string | undefined {
  if (process.getuid?.() !== 0) return 'packets are captured by root only'
  return findProgram('tcpdump') === undefined ? 'tcpdump is not installed' : undefined
}

export interface Capture {
  /** Ends the capture and answers with everything that went over the wire, as the file of tcpdump. */
  finish(): Promise<Buffer>
  stop(): Promise<void>
}

/** Captures the TCP of these ports of the loopback interface. */
export async function startCapture(ports: readonly number[]): Promise<Capture> {
  const scratch = tempDir('rap-capture-')
  const file = join(scratch.path, 'wire.pcap')
  // One port more, over which the capture is asked whether it has come this far.
  const echo = createServer(socket => socket.pipe(socket))
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const { port: echoPort } = echo.address() as { port: number }
  const filter = [...ports, echoPort].map(port => `port ${port}`).join(' or ')
  const tcpdump = await startProcess({
    command: requireProgram('tcpdump'),
    args: ['-i', 'lo', '-n', '-U', '-s', '0', '-B', '65536', '-Z', 'root', '-w', file, `tcp and (${filter})`],
    readyWhen: /listening on/,
  })
  /** Sends a word over the loopback and waits until the file holds it, and with it all that was sent before. */
  const sync = async (): Promise<void> => {
    const word = `capture-${crypto.randomUUID()}`
    const socket = connect(echoPort, '127.0.0.1')
    socket.end(word)
    await waitFor(() => existsSync(file) && readFileSync(file).includes(word), { what: 'the capture' })
    socket.destroy()
  }
  const stop = async (): Promise<void> => {
    await tcpdump.stop()
    echo.close()
    scratch.remove()
  }
  try {
    await sync()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    async finish() {
      await sync()
      await tcpdump.stop()
      if (!/\b0 packets dropped by kernel/.test(tcpdump.log())) throw new Error('the capture has holes')
      return readFileSync(file)
    },
    stop,
  }
}
