import t, { type Test } from 'tap'
import { DesktopClipboard, type RemotePort } from '../src/desktop/clipboard/desktop-clipboard.ts'

const RULES = { toDesktop: true, fromDesktop: true, maxBytes: 100 }

/** A browser as far as the clipboard needs one; what is `denied` throws as a browser does. */
class Browser {
  text = ''
  hasFocus = true
  read: PermissionState | 'untold' = 'granted'
  mayWrite = true
  /** Holds back writes until it is called. */
  release: (() => void) | undefined
  readonly written: string[] = []
  readonly window = new EventTarget()
  readonly host = new EventTarget()
  readonly #permission = Object.assign(new EventTarget(), { state: 'granted' as PermissionState })

  globals() {
    return {
      window: this.window,
      document: { hasFocus: () => this.hasFocus },
      navigator: {
        clipboard: {
          readText: async () => {
            if (this.read === 'denied' || !this.hasFocus) throw new DOMException('no', 'NotAllowedError')
            return this.text
          },
          writeText: async (text: string) => {
            if (!this.mayWrite) throw new DOMException('no', 'NotAllowedError')
            if (this.release !== undefined) {
              await new Promise<void>(resolve => {
                this.release = resolve
              })
            }
            this.written.push(text)
            this.text = text
          },
        },
        permissions: {
          query: async () => {
            if (this.read === 'untold') throw new TypeError('no such permission')
            return Object.assign(this.#permission, { state: this.read })
          },
        },
      },
    }
  }

  async comesBack(): Promise<void> {
    this.hasFocus = true
    this.window.dispatchEvent(new Event('focus'))
    await settled()
  }
}

/** The desktop's end: what it was offered, in order. */
class Desktop implements RemotePort {
  onText: (text: string) => void = () => undefined
  readonly offered: string[] = []

  async offer(text: string): Promise<void> {
    this.offered.push(text)
  }
}

const settled = () => new Promise(resolve => setImmediate(resolve))

async function opened(t: Test, prepare: (browser: Browser) => void = () => undefined) {
  const browser = new Browser()
  prepare(browser)
  for (const [name, value] of Object.entries(browser.globals())) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name)
    Object.defineProperty(globalThis, name, { configurable: true, value })
    t.teardown(() => {
      if (before === undefined) Reflect.deleteProperty(globalThis, name)
      else Object.defineProperty(globalThis, name, before)
    })
  }
  const desktop = new Desktop()
  const clipboard = new DesktopClipboard(desktop, RULES)
  const over = new AbortController()
  t.teardown(() => over.abort())
  clipboard.follow(browser.host as unknown as HTMLElement, over.signal)
  await settled()
  return { browser, desktop, clipboard }
}

t.test('a text that was copied here goes along once, and one that came from the desktop does not go back', async t => {
  const { browser, desktop, clipboard } = await opened(t, browser => {
    browser.text = 'first'
  })
  t.same(desktop.offered, ['first'])
  browser.window.dispatchEvent(Object.assign(new Event('keydown'), { key: 'Control' }))
  await settled()
  t.same(desktop.offered, ['first'])
  desktop.onText('of the desktop')
  await settled()
  t.equal(browser.text, 'of the desktop')
  t.equal(clipboard.state.fromDesktop, 'copied')
  await browser.comesBack()
  t.same(desktop.offered, ['first'])
  browser.text = 'first'
  await browser.comesBack()
  t.same(desktop.offered, ['first', 'first'], 'the same text, copied again, is new')
  desktop.onText('second')
  await settled()
  browser.text = 'third'
  await browser.comesBack()
  browser.text = 'second'
  await browser.comesBack()
  t.same(desktop.offered.slice(2), ['third', 'second'], 'also what came from the desktop before')
})

t.test('what was copied here is not overwritten with what the desktop copied before', async t => {
  const { browser, desktop } = await opened(t)
  desktop.onText('of the desktop')
  await settled()
  browser.text = 'copied here since'
  await browser.comesBack()
  t.equal(browser.text, 'copied here since')
  t.same(browser.written, ['of the desktop'])
})

t.test(
  'a text that the desktop copies meanwhile is written when the person comes back, unless theirs is newer',
  async t => {
    const { browser, desktop, clipboard } = await opened(t)
    browser.hasFocus = false
    desktop.onText('meanwhile')
    await settled()
    t.equal(clipboard.state.fromDesktop, 'waiting')
    t.same(browser.written, [])
    await browser.comesBack()
    t.equal(browser.text, 'meanwhile')
    t.equal(clipboard.state.fromDesktop, 'copied')

    browser.hasFocus = false
    desktop.onText('again')
    browser.text = 'of the person'
    browser.host.dispatchEvent(new Event('pointerenter'))
    await browser.comesBack()
    t.equal(browser.text, 'of the person')
    t.equal(clipboard.state.fromDesktop, 'waiting', 'a click brings it')
    t.ok(await clipboard.copyWaiting())
    t.equal(browser.text, 'again')
  },
)

t.test('what is not on the clipboard here any more cannot be pasted there', async t => {
  const { browser, desktop, clipboard } = await opened(t, browser => {
    browser.text = 'password'
  })
  browser.text = ''
  await browser.comesBack()
  t.same(desktop.offered, ['password', ''], 'wiped, or a picture now')
  await browser.comesBack()
  t.same(desktop.offered, ['password', ''], 'once')

  browser.text = 'next'
  await browser.comesBack()
  browser.text = 'x'.repeat(51)
  const told: number[] = []
  clipboard.onTooLarge = bytes => told.push(bytes)
  await browser.comesBack()
  await browser.comesBack()
  t.same(desktop.offered.slice(2), ['next', ''], 'too large')
  t.same(told, [100], 'and that is told once')

  browser.text = 'more'
  await browser.comesBack()
  desktop.onText('of the desktop')
  await settled()
  browser.text = ''
  await browser.comesBack()
  t.same(desktop.offered.slice(4), ['more'], 'what the desktop has of its own stays')
})

t.test('a desktop that copies without end is written as it is in the end', async t => {
  const { browser, desktop, clipboard } = await opened(t)
  browser.release = () => undefined
  for (let n = 0; n < 1000; n++) desktop.onText(`text ${n}`)
  await settled()
  const { release } = browser
  browser.release = undefined
  release()
  await settled()
  t.same(browser.written, ['text 0', 'text 999'])

  browser.hasFocus = false
  desktop.onText('waits')
  browser.hasFocus = true
  browser.release = () => undefined
  const click = clipboard.copyWaiting()
  await settled()
  desktop.onText('while it is written')
  const { release: again } = browser
  browser.release = undefined
  again()
  t.ok(await click)
  t.equal(browser.text, 'while it is written')
})

t.test('a policy that narrows takes back what was offered, and forgets what was copied', async t => {
  const { browser, desktop, clipboard } = await opened(t, browser => {
    browser.text = 'mine'
    browser.mayWrite = false
  })
  desktop.onText('theirs')
  await settled()
  t.match(clipboard.state, { fromDesktop: 'waiting', waiting: 'theirs' })
  desktop.onText('newer')
  await settled()
  t.equal(clipboard.state.waiting, 'newer', 'what can be copied by hand is the last one')
  clipboard.setRules({ ...RULES, fromDesktop: false })
  t.same([clipboard.state.fromDesktop, clipboard.state.waiting], ['off', undefined])
  browser.mayWrite = true
  t.notOk(await clipboard.copyWaiting())
  desktop.onText('more')
  await settled()
  t.same(browser.written, [])

  browser.text = 'another'
  await browser.comesBack()
  clipboard.setRules({ ...RULES, fromDesktop: false, toDesktop: false })
  await settled()
  t.same(desktop.offered, ['mine', 'another', ''])
  browser.text = 'later'
  await browser.comesBack()
  t.equal(await clipboard.paste(), 'refused')
  t.equal(await clipboard.offer('by hand'), 'refused')
  t.equal(desktop.offered.length, 3)
})

t.test('the browser’s permission is followed, where it is told', async t => {
  for (const [read, state, pasted] of [
    ['prompt', 'ask', 'sent'],
    ['denied', 'denied', 'refused'],
    ['untold', 'manual', 'sent'],
  ] as const) {
    await t.test(read, async t => {
      const { browser, desktop, clipboard } = await opened(t, browser => {
        browser.read = read
        browser.text = 'text'
      })
      t.equal(clipboard.state.toDesktop, state)
      await browser.comesBack()
      t.same(desktop.offered, [], 'nothing is read without a click')
      t.equal(await clipboard.paste(), pasted)
      t.equal(await clipboard.offer('by hand'), 'sent', 'needs no permission')
    })
  }
})
