/** One key of a US keyboard: set 1 scan code ([MS-RDPBCGR] §2.2.8.1.1.3.1.1.1). */
export interface Key {
  readonly code: number
  readonly shift: boolean
}

const ROWS: readonly (readonly [first: number, plain: string, shifted: string])[] = [
  [0x02, '1234567890-=', '!@#$%^&*()_+'],
  [0x10, 'qwertyuiop[]\n', 'QWERTYUIOP{}'],
  [0x1e, "asdfghjkl;'`", 'ASDFGHJKL:"~'],
  [0x2b, '\\zxcvbnm,./', '|ZXCVBNM<>?'],
  [0x39, ' ', ''],
]

const KEYS = new Map<string, Key>(
  ROWS.flatMap(([first, plain, shifted]) => [
    ...[...plain].map((mark, index): [string, Key] => [mark, { code: first + index, shift: false }]),
    ...[...shifted].map((mark, index): [string, Key] => [mark, { code: first + index, shift: true }]),
  ]),
)

/** The keys that write a text of ASCII. Throws where a character has no key. */
export function scanCodes(text: string): Key[] {
  return [...text].map(mark => {
    const key = KEYS.get(mark)
    if (key === undefined) throw new RangeError('character has no key')
    return key
  })
}
