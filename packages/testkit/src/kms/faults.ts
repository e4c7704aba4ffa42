import type { ServerResponse } from 'node:http'
import { KmsRefusal } from './answers.ts'

/** What a test can make the service do instead of its work. */
export type KmsFault =
  /** Any refusal by its type: `ThrottlingException`, `AccessDeniedException`, `KMSInternalException`, … */
  | { readonly kind: 'refuse'; readonly type: string; readonly message?: string }
  /** Reads the request and never answers. */
  | { readonly kind: 'hang' }
  /** Closes the connection instead of an answer, or in the middle of one. */
  | { readonly kind: 'cut' }
  | { readonly kind: 'cut-body' }
  /** Status 200 with this text. */
  | { readonly kind: 'text'; readonly text: string }
  /** Status 200 with a body without end. */
  | { readonly kind: 'endless' }
  /** The right answer with these members in place of its own. */
  | { readonly kind: 'members'; readonly members: Readonly<Record<string, unknown>> }
  | { readonly kind: 'redirect'; readonly location: string }

/** Does a fault; true where that was the whole answer. Throws KmsRefusal for `refuse`. */
export function commit(fault: KmsFault, response: ServerResponse): boolean {
  if (fault.kind === 'members') return false
  if (fault.kind === 'refuse') throw new KmsRefusal(fault.type, fault.message ?? 'as the test wants it')
  if (fault.kind === 'cut') response.destroy()
  if (fault.kind === 'cut-body') {
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1', 'content-length': 1000 })
    response.write('{"Plaintext":"', () => response.destroy())
  }
  if (fault.kind === 'text') response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' }).end(fault.text)
  if (fault.kind === 'redirect') response.writeHead(307, { location: fault.location }).end()
  if (fault.kind === 'endless') {
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' })
    const more = (): void => {
      if (!response.destroyed) response.write(' '.repeat(64 * 1024), more)
    }
    response.write('{"CiphertextBlob":"', more)
  }
  return true
}
