import { CredSspClient } from '../src/credssp/client.ts'
import { clientOptions, PASSWORD, utf16 } from '../test/credssp/helper.ts'
import { ModelServer } from '../test/credssp/model-server.ts'
import { contains } from '../test/helper.ts'
import { program, stepsOf } from './program.ts'
import { type FuzzTarget, refusalOnly } from './promise.ts'

const NEGOTIATIONS = ['ntlm', 'spnego'] as const
const SECRET = utf16(PASSWORD)
/** The states in which a client takes a message. */
const LISTENS = ['negotiating', 'verifying-server', 'done']

/** The first byte is the negotiation, each step a TSRequest of the server. The client refuses or answers, and never shows the password. */
function run(bytes: Uint8Array): void {
  const client = new CredSspClient(clientOptions({ negotiation: NEGOTIATIONS[(bytes[0] ?? 0) & 1] ?? 'ntlm' }))
  const sent: Uint8Array[] = [client.start()]
  try {
    for (const { bytes: frame } of stepsOf(bytes.subarray(1))) {
      if (!LISTENS.includes(client.state)) break
      client.frameSize(frame)
      sent.push(...client.step(frame).send)
    }
  } catch (error) {
    refusalOnly(error)
  }
  if (sent.some(message => contains(message, SECRET))) throw new Error('the password was shown')
}

/** What an honest server answers to this client, whose randomness can be foreseen. */
function answers(negotiation: (typeof NEGOTIATIONS)[number]): Uint8Array[] {
  const server = new ModelServer({ negotiation })
  const client = new CredSspClient(clientOptions({ negotiation }))
  const frames: Uint8Array[] = []
  for (let outgoing: readonly Uint8Array[] = [client.start()]; outgoing[0] !== undefined; ) {
    const answer = server.receive(outgoing[0])
    if (answer === undefined) break
    frames.push(answer)
    outgoing = client.step(answer).send
  }
  return frames
}

const HONEST = NEGOTIATIONS.map(answers)

/** TSRequests of a server. */
export const TS_REQUESTS: readonly Uint8Array[] = HONEST.flat()

export const CREDSSP_CLIENT: FuzzTarget = {
  run,
  seeds: HONEST.map((frames, index) => program([index], ...frames.map(frame => [0, frame] as const))),
}
