import type { Test } from 'tap'
import { CredSspClient, type CredSspOptions } from '../../src/credssp/client.ts'
import { CredSspError } from '../../src/credssp/errors.ts'
import { decodeTsRequest } from '../../src/credssp/ts-request.ts'
import { clientOptions } from './helper.ts'
import { type Mischief, ModelServer } from './model-server.ts'

export interface Conversation {
  readonly server: ModelServer
  readonly client: CredSspClient
  /** What the client sent, in order. */
  readonly sent: readonly Uint8Array[]
  /** Why the client ended the logon. */
  readonly error: CredSspError | undefined
}

/** Runs client and model server against each other until the client is done or refuses. */
export function converse(mischief: Partial<Mischief> = {}, changes: Partial<CredSspOptions> = {}): Conversation {
  const server = new ModelServer(mischief)
  const client = new CredSspClient(clientOptions(changes))
  const sent: Uint8Array[] = []
  let outgoing: readonly Uint8Array[] = [client.start()]
  try {
    while (outgoing.length > 0) {
      const frame = outgoing[0]!
      sent.push(frame)
      const answer = server.receive(frame)
      if (answer === undefined) break
      if (client.frameSize(answer) !== answer.length) throw new Error('frame size differs')
      outgoing = client.step(answer).send
    }
    return { server, client, sent, error: undefined }
  } catch (error) {
    if (!(error instanceof CredSspError)) throw error
    return { server, client, sent, error }
  }
}

/** The conversation ended with `code`, and no credentials left the client. */
export function refused(t: Test, conversation: Conversation, code: string, name: string): void {
  const { server, client, sent, error } = conversation
  t.equal(error?.code, code, name)
  t.notOk(
    sent.some(frame => decodeTsRequest(frame).authInfo !== undefined),
    `${name}: no authInfo was sent`,
  )
  t.equal(server.credentials, undefined, `${name}: the server learned nothing`)
  t.equal(client.state, 'failed', `${name}: the client has failed`)
}
