import { X509Certificate } from 'node:crypto'
import { certificateThumbprint, createCsr } from '@rap/pki'
import type { Answer, Instance, TestUser } from '../helper.ts'

export interface EnrolledWorker {
  readonly id: string
  readonly keyPem: string
  /** PEM of the newest certificate with its chain. */
  readonly certificate: string
  status(): Promise<Answer>
  /** `from` is an earlier certificate. */
  renew(csr?: string, from?: string): Promise<Answer>
  announce(publicUrl: string, labels?: Record<string, string>): Promise<Answer>
}

/** A worker that has enrolled, and calls the internal API with what it was given. */
export async function enrolWorker(
  instance: Instance,
  owner: TestUser,
  names: { dns_names?: string[]; ip_addresses?: string[]; labels?: Record<string, string> } = {
    dns_names: ['worker-1.example'],
  },
): Promise<EnrolledWorker> {
  const { body: token } = await instance.call(owner, 'POST', '/v1/workers/join-tokens', {
    body: { name: 'Worker', ...names },
  })
  const { csrPem, keyPem } = await createCsr({ commonName: token.identity_id })
  const enrolled = await instance.call(undefined, 'POST', '/v1/enroll', {
    body: { join_token: token.join_token, csr: csrPem },
  })
  let certificate: string = enrolled.body.certificate
  const call = async (method: string, url: string, body?: unknown, from = certificate): Promise<Answer> => {
    const thumbprint = certificateThumbprint(new X509Certificate(from).raw)
    const headers = { 'x-test-thumbprint': thumbprint }
    return await instance.internal(`worker/${token.identity_id}`, method, url, {
      headers,
      ...(body !== undefined && { body }),
    })
  }
  return {
    id: token.identity_id,
    keyPem,
    get certificate() {
      return certificate
    },
    status: () => call('GET', '/internal/v1/identity'),
    async renew(csr, from) {
      const answer = await call(
        'POST',
        '/internal/v1/identity/certificates',
        {
          csr: csr ?? (await createCsr({ commonName: token.identity_id })).csrPem,
        },
        from,
      )
      if (answer.status === 200) certificate = answer.body.certificate
      return answer
    },
    announce: (public_url, labels = {}) => call('POST', '/internal/v1/workers/self', { public_url, labels }),
  }
}
