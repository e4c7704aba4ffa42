import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { launchBrowser } from '@rap/testkit'
import t from 'tap'
import { build } from 'vite'
import type * as Sdk from '../src/index.ts'
import {
  authority,
  binds,
  type ControlPlaneScript,
  type DataPlaneEnd,
  dataPlane,
  direct,
  floodWith,
  gateway,
  json,
  problem,
  RESOURCE_ID,
  scriptedControlPlane,
  serverCertificate,
  standsStill,
} from './helper.ts'
import { TransfersWorker } from './transfers-worker.ts'

const ROOT = join(import.meta.dirname, '..')
/** A page that allows nothing but its own scripts and connections: the SDK must live with a strict policy. */
const POLICY = "default-src 'none'; script-src 'self'; connect-src 'self' wss://127.0.0.1:*"

declare global {
  interface Window {
    Rap: typeof Sdk
    WebSocketStream?: unknown
  }
}

/** The SDK as Vite bundles it for a browser. */
async function bundle(): Promise<string> {
  const result = await build({
    root: ROOT,
    configFile: false,
    logLevel: 'silent',
    build: {
      write: false,
      target: 'es2022',
      lib: { entry: join(ROOT, 'src/index.ts'), formats: ['iife'], name: 'Rap' },
    },
  })
  const [output] = [result].flat() as { output: { code: string }[] }[]
  return output?.output.map(({ code }) => code).join('\n') ?? ''
}

const code = await bundle()

t.test('the bundle for browsers holds nothing of Node, and no eval', async t => {
  for (const pattern of [
    /node:/,
    /\bundici\b/,
    /process\.env/,
    /\beval\(/,
    /new Function/,
    /\bBuffer\b/,
    /\brequire\(/,
  ]) {
    t.notMatch(code, pattern)
  }
  t.match(code, /WebSocketStream/)
})

t.test('only the platform of Node needs Node', async t => {
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter(name =>
    name.endsWith('.ts'),
  )
  const needy = files.filter(name =>
    /from '(node:[a-z/]+|ws|undici|@rap\/trust-bundle)'/.test(readFileSync(join(ROOT, 'src', name), 'utf8')),
  )
  t.same(needy.sort(), ['platform/node-trust.ts', 'platform/node.ts'])
})

const ca = await authority()
const tls = await serverCertificate(ca)
const strangerTls = await serverCertificate(await authority())

const browser = await launchBrowser({ trustedCaPem: ca.certificatePem })
t.teardown(() => browser.stop())

/** A page of the control plane's own origin with the SDK in it. */
async function page(t: Tap, candidates: unknown[], channels: readonly string[] = ['display', 'input']) {
  let cookie: string | undefined
  const script: ControlPlaneScript = {
    candidates,
    channels,
    intercept: ({ path, headers, body }, response) => {
      response.setHeader('content-security-policy', POLICY)
      if (path === '/') {
        response.setHeader('content-type', 'text/html').end('<!doctype html><script src="/sdk.js"></script>')
        return true
      }
      if (path === '/sdk.js') {
        response.setHeader('content-type', 'text/javascript').end(code)
        return true
      }
      const grant = { access_token: `access-${crypto.randomUUID()}`, expires_in: 900 }
      if (path === '/v1/auth/login' && (body as { refresh: string }).refresh === 'cookie') {
        cookie = crypto.randomUUID()
      } else if (path === '/v1/auth/refresh') {
        const isOurs =
          cookie !== undefined && headers.cookie === `rap_refresh=${cookie}` && headers.origin !== undefined
        if (!isOurs) {
          problem(response, 401, 'ERR_AUTH_REFRESH_INVALID')
          return true
        }
        cookie = crypto.randomUUID()
      } else return false
      response.setHeader('set-cookie', `rap_refresh=${cookie}; Path=/v1/auth; HttpOnly; Secure; SameSite=Strict`)
      json(response, grant)
      return true
    },
  }
  const controlPlane = await scriptedControlPlane(t, script, tls)
  const opened = await browser.context.newPage()
  t.teardown(() => opened.close())
  const complaints: string[] = []
  opened.on('pageerror', error => complaints.push(error.message))
  await opened.goto(controlPlane.origin)
  return { page: opened, controlPlane, complaints }
}

interface Tap {
  teardown(run: () => unknown): void
}

/** What a page does with a connection: sends a few bytes, and reads what comes until the end. */
async function talk(arguments_: { resourceId: string; transport: 'binary_v1' | 'json_v1'; withStreams: boolean }) {
  if (!arguments_.withStreams) delete window.WebSocketStream
  const rap = window.Rap.createRapClient({ baseUrl: window.location.origin })
  await rap.login({ email: 'a@example.com', password: 'correct horse', refresh: 'cookie' })
  const session = await rap.sessions.start({ resourceId: arguments_.resourceId })
  const connection = await session.connect({ transport: arguments_.transport })
  const writer = connection.stream.writable.getWriter()
  await writer.write(new Uint8Array([1, 2, 3]))
  const reader = connection.stream.readable.getReader()
  const got: number[] = []
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    got.push(...value)
  }
  const { holdsBack, path, trace } = connection
  return { got, holdsBack, path, trace: trace.toString(), closed: await connection.closed }
}

/** Echoes the first RDP bytes, doubled, and closes. */
async function echo(t: Tap, certificate = tls): Promise<DataPlaneEnd> {
  return await dataPlane(
    t,
    certificate,
    binds(socket =>
      socket.once('message', (data, isBinary) => {
        const bytes = isBinary ? (data as Buffer) : Buffer.from(JSON.parse(String(data)).data, 'base64')
        const doubled = Buffer.concat([bytes, bytes])
        socket.send(isBinary ? doubled : JSON.stringify({ type: 'rdp', data: doubled.toString('base64') }))
        socket.close(1000)
      }),
    ),
  )
}

t.test('a browser logs in, binds directly and exchanges bytes, with WebSocketStream and without', async t => {
  for (const withStreams of [true, false]) {
    for (const transport of ['binary_v1', 'json_v1'] as const) {
      const worker = await echo(t)
      const fallback = await echo(t)
      const opened = await page(t, [direct(worker.url), gateway(fallback.url)])
      const result = await opened.page.evaluate(talk, { resourceId: RESOURCE_ID, transport, withStreams })
      t.match(result, { got: [1, 2, 3, 1, 2, 3], holdsBack: withStreams, path: 'direct', closed: { orderly: true } })
      t.same(opened.complaints, [])
      t.equal(fallback.connections.length, 0)
    }
  }
})

/** What a page does with a file: sends it, and cuts its own network once on the way. */
async function send(arguments_: { resourceId: string; withStreams: boolean; size: number }) {
  if (!arguments_.withStreams) delete window.WebSocketStream
  const rap = window.Rap.createRapClient({ baseUrl: window.location.origin })
  await rap.login({ email: 'a@example.com', password: 'correct horse', refresh: 'cookie' })
  const session = await rap.sessions.start({ resourceId: arguments_.resourceId })
  const transfers = await session.transfers()
  const bytes = new Uint8Array(arguments_.size).map((_, index) => (index * 31) % 251)
  const sent: number[] = []
  const { name } = await transfers.upload(new File([bytes], 'page.bin'), { onProgress: at => sent.push(at) })
  const items = transfers.items.map(({ state }) => state)
  const closed = await transfers.close()
  return { name, sent: sent.at(-1), items, closed }
}

t.test('a browser sends a file over a cut network, with WebSocketStream and without', async t => {
  const size = 5 * 2 ** 20 + 3
  for (const withStreams of [true, false]) {
    const worker = new TransfersWorker()
    let isCut = false
    worker.onChunk = socket => {
      if (isCut || worker.received < 2 ** 20) return false
      isCut = true
      socket.terminate()
      return true
    }
    const end = await dataPlane(t, tls, worker.script)
    const opened = await page(t, [direct(end.url)], ['display', 'file_upload', 'events'])
    const result = await opened.page.evaluate(send, { resourceId: RESOURCE_ID, withStreams, size })
    t.match(result, { name: 'page.bin', sent: size, items: ['ready'], closed: { orderly: true } })
    t.same(opened.complaints, [])
    t.equal(worker.sockets.length, 2)
    t.equal(worker.received, size)
  }
})

t.test('a worker that the browser does not trust is not reached, and the gateway is used', async t => {
  for (const withStreams of [true, false]) {
    const worker = await echo(t, strangerTls)
    const fallback = await echo(t)
    const opened = await page(t, [direct(worker.url), gateway(fallback.url)])
    const result = await opened.page.evaluate(talk, {
      resourceId: RESOURCE_ID,
      transport: 'binary_v1' as const,
      withStreams,
    })
    t.match(result, { got: [1, 2, 3, 1, 2, 3], path: 'gateway' })
    t.match(result.trace, /direct_worker_wss .*: failed: network/, 'a browser does not tell a page more')
    t.equal(worker.connections.length, 0)
  }
})

t.test('a target for the web component is probed in the browser, and its probe sends nothing', async t => {
  const worker = await dataPlane(t, tls)
  const fallback = await dataPlane(t, tls)
  const opened = await page(t, [direct(worker.url), gateway(fallback.url)])
  const target = await opened.page.evaluate(async resourceId => {
    const rap = window.Rap.createRapClient({ baseUrl: window.location.origin })
    await rap.login({ email: 'a@example.com', password: 'correct horse', refresh: 'cookie' })
    const session = await rap.sessions.start({ resourceId })
    const { trace, ...rest } = await session.rdCleanPath()
    return rest
  }, RESOURCE_ID)
  t.match(target, { path: 'direct', proxyAddress: worker.url, authToken: /^[\w.-]+~[\w.-]+$/ })
  t.same(worker.texts, [])
})

t.test('a refusal reaches the page by its code', async t => {
  for (const withStreams of [true, false]) {
    const worker = await dataPlane(t, tls, socket => {
      socket.once('message', () => socket.close(4410, 'ERR_BIND_SESSION_ENDED'))
    })
    const opened = await page(t, [direct(worker.url)])
    const refused = await opened.page.evaluate(
      async ({ resourceId, withStreams }) => {
        if (!withStreams) delete window.WebSocketStream
        const rap = window.Rap.createRapClient({ baseUrl: window.location.origin })
        await rap.login({ email: 'a@example.com', password: 'correct horse', refresh: 'cookie' })
        const session = await rap.sessions.start({ resourceId })
        return await session.connect().then(
          () => 'connected',
          (error: Sdk.RapError) => ({ code: error.code, closeCode: error.closeCode }),
        )
      },
      { resourceId: RESOURCE_ID, withStreams },
    )
    t.same(refused, { code: 'ERR_BIND_SESSION_ENDED', closeCode: 4410 }, `streams: ${withStreams}`)
  }
})

t.test('a page that is opened again finds its log-in, and so do two tabs at once', async t => {
  const opened = await page(t, [])
  const resume = () =>
    opened.page.evaluate(async () => await window.Rap.createRapClient({ baseUrl: window.location.origin }).resume())
  t.equal(await resume(), false)
  await opened.page.evaluate(async () => {
    const rap = window.Rap.createRapClient({ baseUrl: window.location.origin })
    await rap.login({ email: 'a@example.com', password: 'correct horse', refresh: 'cookie' })
  })
  await opened.page.reload()
  t.equal(await resume(), true)
  // Each refresh uses the cookie up, so clients that did not wait for each other would send a used one.
  const both = await opened.page.evaluate(async () => {
    const clients = [1, 2, 3, 4].map(() => window.Rap.createRapClient({ baseUrl: window.location.origin }))
    return await Promise.all(clients.map(client => client.resume()))
  })
  t.same(both, [true, true, true, true])
  t.equal(await opened.page.evaluate(() => document.cookie), '', 'a script never sees it')
})

t.test('a reader that stops holds a Chromium connection back', async t => {
  const total = 64 * 1024 * 1024
  const flood = { taken: 0 }
  const worker = await dataPlane(
    t,
    tls,
    binds(socket => floodWith(socket, Buffer.alloc(256 * 1024, 7), { total, flood })),
  )
  const opened = await page(t, [direct(worker.url)])
  await opened.page.evaluate(async resourceId => {
    const rap = window.Rap.createRapClient({ baseUrl: window.location.origin })
    await rap.login({ email: 'a@example.com', password: 'correct horse', refresh: 'cookie' })
    const session = await rap.sessions.start({ resourceId })
    Object.assign(window, { connection: await session.connect() })
  }, RESOURCE_ID)
  const taken = await standsStill(() => flood.taken)
  t.ok(taken < total / 2, `${taken} of ${total} bytes were taken`)
  const size = await opened.page.evaluate(async total => {
    const { connection } = window as unknown as { connection: Sdk.RdpConnection }
    const reader = connection.stream.readable.getReader()
    let size = 0
    while (size < total) size += (await reader.read()).value?.length ?? 0
    return size
  }, total)
  t.equal(size, total)
})

t.test('without WebSocketStream, what is unread is bounded, and the connection is then given up', async t => {
  const worker = await dataPlane(
    t,
    tls,
    binds(socket => floodWith(socket, Buffer.alloc(512 * 1024, 7), { total: 128 * 1024 * 1024, flood: { taken: 0 } })),
  )
  const opened = await page(t, [direct(worker.url)])
  const ended = await opened.page.evaluate(async resourceId => {
    delete window.WebSocketStream
    const rap = window.Rap.createRapClient({ baseUrl: window.location.origin })
    await rap.login({ email: 'a@example.com', password: 'correct horse', refresh: 'cookie' })
    const session = await rap.sessions.start({ resourceId })
    const connection = await session.connect()
    await connection.closed
    const reader = connection.stream.readable.getReader()
    return await reader.read().then(
      () => 'read',
      (error: Sdk.RapError) => error.code,
    )
  }, RESOURCE_ID)
  t.equal(ended, 'ERR_DATA_PLANE_OVERRUN')
})
