/** Values that a field of JSON rarely expects. */
const JUNK: readonly unknown[] = [
  null,
  true,
  -1,
  1e308,
  '',
  '\u0000',
  '\ud800',
  'x'.repeat(20_000),
  [],
  {},
  [[[[]]]],
  { toString: 1, valueOf: {}, length: 1e9 },
]

/** Sizes and positions spread over `size`, the ends among them. */
export function spread(size: number, count: number): number[] {
  const last = size - 1
  return [...new Set(Array.from({ length: count }, (_, index) => Math.round((index * last) / (count - 1))))]
}

/** A text or bytes cut at `count` places, and with one byte changed at as many. */
export function bent(message: string | Uint8Array, count: number): Buffer[] {
  const bytes = Buffer.from(message as string)
  const cuts = spread(bytes.length, count).map(size => bytes.subarray(0, size))
  const changed = spread(bytes.length, count).map((at, index) => {
    const copy = Buffer.from(bytes)
    copy[at] = [0x00, 0xff, 0x22, 0x7b, 0x80][index % 5] as number
    return copy
  })
  return [...cuts, ...changed]
}

/** JSON bodies like `body`: bent, with each field replaced by junk or left out, and some that are no object at all. */
export function bentBodies(body: Readonly<Record<string, unknown>>): Buffer[] {
  const fields = Object.keys(body).flatMap(name => [
    ...JUNK.map(junk => ({ ...body, [name]: junk })),
    Object.fromEntries(Object.entries(body).filter(([other]) => other !== name)),
  ])
  const texts = [
    ...fields.map(value => JSON.stringify(value)),
    JSON.stringify({ ...body, extra: 1 }),
    `{"__proto__":{"a":1},${JSON.stringify(body).slice(1)}`,
    `{"constructor":{"prototype":{}},${JSON.stringify(body).slice(1)}`,
    '['.repeat(20_000),
    '"',
    'null',
    '[]',
    '1',
    '',
  ]
  return [...bent(JSON.stringify(body), 8), ...texts.map(text => Buffer.from(text)), Buffer.from([0xff, 0xfe, 0x00])]
}

/** What arrives at a port that speaks HTTP/1.1 and was not written by a client of it. */
export const BROKEN_HTTP: readonly (string | Buffer)[] = [
  '',
  '\r\n\r\n',
  'GET\r\n\r\n',
  'GET / HTTP/9.9\r\n\r\n',
  'GET / HTTP/1.1\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'GET http://elsewhere.example/ HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET //elsewhere.example/%2e%2e/%00 HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET /%ff%fe%c0%af HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n',
  `GET /${'a'.repeat(60_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: x\r\n${'x: y\r\n'.repeat(3000)}\r\n`,
  `GET / HTTP/1.1\r\nHost: x\r\nx: ${'y'.repeat(60_000)}\r\n\r\n`,
  'GET / HTTP/1.1\r\nHost: x\r\nx : y\r\n\r\n',
  'GET / HTTP/1.1\nHost: x\n\n',
  'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
  'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n',
  'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n',
  'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
  'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: x\r\n\r\n',
  'TRACE / HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET /data-plane/v1 HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET /data-plane/v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 1\r\n\r\n',
  'GET /data-plane/v1?token=x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n',
  Buffer.alloc(2000, 0xff),
  Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
]

/** Frames that break RFC 6455 §5: sent over an upgraded connection as they are. */
export const BROKEN_FRAMES: readonly Buffer[] = [
  Buffer.from([0xc1, 0x80, 0, 0, 0, 0]),
  Buffer.from([0x83, 0x80, 0, 0, 0, 0]),
  Buffer.from([0x81, 0x01, 0x78, 0x78, 0x78, 0x78, 0x78]),
  Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0xff]),
  Buffer.from([0x80, 0x81, 0, 0, 0, 0, 0x78]),
  Buffer.from([0x09, 0x80, 0, 0, 0, 0]),
  Buffer.from([0x89, 0xfe, 0x00, 0x7e, 0, 0, 0, 0]),
  Buffer.from([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
  Buffer.from([0x82, 0xff, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0, 0, 0, 0]),
  Buffer.from([0x88, 0x81, 0, 0, 0, 0, 0x01]),
  Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x00, 0x00]),
]
