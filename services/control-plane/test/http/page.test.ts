import t from 'tap'
import { pageOf, readNumberCursor, readTimeCursor } from '../../src/http/page.ts'

const ID = '00000000-0000-4000-8000-000000000001'
const cursorOf = (text: string) => Buffer.from(text).toString('base64url')

t.test('a page names the next one only when there is one', async t => {
  const options = { place: (row: number) => `${row}`, item: (row: number) => row * 10 }
  t.same(pageOf([1, 2, 3], 2, options), { items: [10, 20], next_cursor: cursorOf('2') })
  t.same(pageOf([1, 2], 2, options), { items: [10, 20], next_cursor: null })
  t.same(pageOf([], 2, options), { items: [], next_cursor: null })
})

t.test('a cursor comes back as it was given', async t => {
  t.equal(readTimeCursor(undefined), undefined)
  const at = '2026-01-02T03:04:05.123456Z'
  t.same(readTimeCursor(cursorOf(`${at}~${ID}`)), { at, id: ID })
  t.equal(readNumberCursor(cursorOf('42')), '42')
})

t.test('a cursor that is none of ours is refused', async t => {
  for (const text of [
    '',
    'x',
    `2026~${ID}`,
    `2026-13-02T03:04:05.123456Z~${ID}`,
    `2026-01-02T03:04:05.123456Z~x' or 1`,
  ]) {
    t.throws(() => readTimeCursor(cursorOf(text)), { code: 'ERR_LIST_CURSOR_INVALID' }, text)
  }
  for (const text of ['', '0', '-1', '1e3', '1'.repeat(19), '1; drop']) {
    t.throws(() => readNumberCursor(cursorOf(text)), { code: 'ERR_LIST_CURSOR_INVALID' }, text)
  }
})
