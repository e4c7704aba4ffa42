import { request } from 'node:https'

export interface ClientTls {
  readonly ca: string
  readonly cert?: string
  readonly key?: string
}

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: answers are checked member by member.
  readonly body: any
}

export interface Call {
  readonly method: string
  readonly path: string
  /** Sent as JSON; a string or a Buffer is sent as it is. */
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

/** One request on one connection of its own, with real certificates. Rejects where the handshake fails. */
export async function call(origin: string, tls: ClientTls, { method, path, body, headers }: Call): Promise<Answer> {
  const bytes =
    body === undefined
      ? undefined
      : typeof body === 'string' || Buffer.isBuffer(body)
        ? Buffer.from(body as string)
        : Buffer.from(JSON.stringify(body))
  return await new Promise<Answer>((resolve, reject) => {
    const sent = request(new URL(path, origin), {
      ...tls,
      method,
      agent: false,
      headers: {
        ...(bytes !== undefined && { 'content-type': 'application/json', 'content-length': String(bytes.length) }),
        ...headers,
      },
    })
    sent.on('error', reject)
    sent.on('response', response => {
      const chunks: Buffer[] = []
      response.on('error', reject)
      response.on('data', chunk => chunks.push(chunk))
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, body: parsed(text) })
      })
    })
    sent.end(bytes)
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
