import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createAuthority, issueCertificate } from '@rap/pki'
import t from 'tap'
import { launchBrowser } from '../src/index.ts'

const now = new Date()
const authority = await createAuthority({ name: 'Platform CA', days: 2, now })
const stranger = await createAuthority({ name: 'Another CA', days: 2, now })
const { certificatePem, keyPem } = await issueCertificate({
  authority,
  commonName: 'page',
  dnsNames: ['localhost'],
  usages: ['server'],
  now,
  notAfter: new Date(now.getTime() + 86_400_000),
})

t.test('a browser', async t => {
  const server = createServer({ cert: certificatePem, key: keyPem }, (_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<title>platform page</title>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo

  t.test('opens a page whose certificate comes from a trusted authority', async t => {
    const browser = await launchBrowser({ trustedCaPem: authority.certificatePem })
    t.teardown(() => browser.stop())
    const page = await browser.context.newPage()
    await page.goto(`https://localhost:${port}/`)
    t.equal(await page.title(), 'platform page')
    const wrongName = page.goto(`https://127.0.0.1:${port}/`)
    await t.rejects(wrongName, { message: /ERR_CERT_COMMON_NAME_INVALID/ })
  })

  t.test('refuses the page when it trusts another authority', async t => {
    const browser = await launchBrowser({ trustedCaPem: stranger.certificatePem })
    t.teardown(() => browser.stop())
    const page = await browser.context.newPage()
    await t.rejects(page.goto(`https://localhost:${port}/`), { message: /ERR_CERT_AUTHORITY_INVALID/ })
  })
})
