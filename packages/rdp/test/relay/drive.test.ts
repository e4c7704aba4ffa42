import t from 'tap'
import { Reader, Writer } from '../../src/cursor.ts'
import { IRP_MJ } from '../../src/rdpdr/io-request.ts'
import { NT_STATUS } from '../../src/rdpdr/nt-status.ts'
import type { ReadResult } from '../../src/relay/types.ts'
import { utf16 } from '../../src/utf16.ts'
import { changed, concat, contains, hex } from '../helper.ts'
import {
  buffer,
  CAPABILITY_REQUEST,
  CLIENT_ID_CONFIRM,
  chunks,
  createBody,
  DEVICE_ACCEPTED,
  decodeCompletion,
  directoryBody,
  ioRequest,
  MemoryFiles,
  queryBody,
  readBody,
  SERVER_ANNOUNCE,
  Target,
  USER_LOGGED_ON,
} from '../rdpdr/target.ts'

const READ_ONLY = 'server_to_client ERR_DRIVE_READ_ONLY'
const MALFORMED = 'server_to_client ERR_DRIVE_MALFORMED'
const BUSY = 'server_to_client ERR_DRIVE_BUSY'
const SEARCHED = { desiredAccess: 0x00100081, createDisposition: 1, createOptions: 0 }
const CLIENT_HELLO = [hex('72444343 0100 0c00 01000000'), hex('72444e43 01000000 00000000 08000000 520041005000 0000')]
const DEVICE_LIST = hex(`
  72444144 01000000 08000000 01000000 5241505f54726100 0e000000 5241505f5472616e736665727300`)
const DEVICE_REMOVE = hex('72444d44 01000000 01000000')
const NO_REMOVAL = changed(CAPABILITY_REQUEST, 36, 6)
const NO_LOGON = changed(CAPABILITY_REQUEST, 36, 3)

const content = (size: number) => Uint8Array.from({ length: size }, (_, index) => (index * 7) % 251)
const two = () => new MemoryFiles({ 'notes.txt': content(5_000), 'Photo.JPG': content(3_000_000) })

t.test('the device is announced as Windows, xrdp and a server without logon messages want it', async t => {
  const ways = {
    Windows: [SERVER_ANNOUNCE, CAPABILITY_REQUEST, CLIENT_ID_CONFIRM, USER_LOGGED_ON],
    xrdp: [SERVER_ANNOUNCE, USER_LOGGED_ON, CAPABILITY_REQUEST, CLIENT_ID_CONFIRM],
    'no logon': [SERVER_ANNOUNCE, CAPABILITY_REQUEST, CLIENT_ID_CONFIRM],
    'no logon, confirmed first': [SERVER_ANNOUNCE, CLIENT_ID_CONFIRM, CAPABILITY_REQUEST],
  }
  for (const [way, messages] of Object.entries(ways)) {
    const target = new Target()
    const said = way.startsWith('no logon')
      ? messages.map(message => (message === CAPABILITY_REQUEST ? NO_LOGON : message))
      : messages
    target.say(...said.slice(0, -1))
    const before = target.take()
    t.same(before.slice(0, 2), CLIENT_HELLO, way)
    t.notOk(before.some(message => contains(message, DEVICE_LIST)))
    target.say(...said.slice(-1))
    t.same(target.take().at(-1), DEVICE_LIST, way)
    t.same(target.mounts, [])
    target.say(DEVICE_ACCEPTED, USER_LOGGED_ON, CLIENT_ID_CONFIRM)
    t.same(target.mounts, [true])
    t.same(target.take(), [], 'and once only')
    t.same(target.told, [])
  }
})

t.test('a server that refuses the device has none', async t => {
  const target = new Target().say(SERVER_ANNOUNCE, USER_LOGGED_ON, CAPABILITY_REQUEST, CLIENT_ID_CONFIRM)
  target.say(changed(DEVICE_ACCEPTED, 8, 0x22, 0, 0, 0xc0))
  t.same(target.mounts, [false])
})

t.test('a second Server Announce begins anew, and what was pending is forgotten', async t => {
  const files = two()
  files.isPrompt = false
  const target = new Target(files).mount()
  const id = target.open('\\notes.txt')
  target.read(id, 0, 10)
  target.read(id, 10, 10)
  target.say(SERVER_ANNOUNCE)
  t.same(target.take(), CLIENT_HELLO, 'no answers')
  t.same(target.mounts, [true, false])
  files.reads[0]!()
  t.same(target.take(), [])
  target.say(USER_LOGGED_ON, CAPABILITY_REQUEST, CLIENT_ID_CONFIRM, DEVICE_ACCEPTED)
  t.same(target.take().at(-1), DEVICE_LIST)
  t.same(target.mounts, [true, false, true])
  t.equal(target.answer(IRP_MJ.QUERY_INFORMATION, id, queryBody(4)).status, NT_STATUS.UNSUCCESSFUL)
  const again = target.open('\\notes.txt')
  target.read(again, 0, 10)
  t.equal(files.reads.length, 2, 'the files are read again once they have answered')
})

t.test('only names of the list open, in any case, and with either separator', async t => {
  const target = new Target(two()).mount()
  for (const path of ['\\notes.txt', '/notes.txt', 'notes.txt', '\\NOTES.TXT', '\\photo.jpg', '', '\\', '/']) {
    t.equal(target.create(path).status, NT_STATUS.SUCCESS, path)
  }
  const nothing = [
    '\\other',
    '\\\\notes.txt',
    '\\notes.txt\\',
    '\\notes.txt/',
    '\\..\\notes.txt',
    '\\.',
    '\\..',
    '\\./notes.txt',
  ]
  const tricks = [
    '\\notes.txt.',
    '\\notes.txt ',
    '\\notes.txt:s',
    '\\notes.txt::$DATA',
    '\\notes.txt\0.x',
    '\\NOTES~1.TXT',
  ]
  for (const path of [...nothing, ...tricks, '\\id of notes.txt', '\\*', '\\notes.*', `\\${'a'.repeat(600)}`]) {
    t.equal(target.create(path).status, NT_STATUS.OBJECT_NAME_NOT_FOUND, path)
    const lookUp = target.create(path, { desiredAccess: 0x00100080 })
    t.equal(lookUp.status, NT_STATUS.NO_SUCH_FILE, `${path}, not to be read`)
  }
  for (const path of ['\\NUL', '\\con', '\\Com1', '\\LPT9', '\\clock$']) {
    t.equal(target.create(path).status, NT_STATUS.ACCESS_DENIED, `${path}: [MS-RDPEFS] §3.2.5.2.3`)
  }
  t.same(target.told, [])
})

t.test('a file is no directory, the root is no file, and both is nonsense', async t => {
  const target = new Target(two()).mount()
  const create = (path: string, createOptions: number) => target.create(path, { createOptions }).status
  t.equal(create('\\notes.txt', 0x40), NT_STATUS.SUCCESS)
  t.equal(create('\\', 0x1), NT_STATUS.SUCCESS)
  t.equal(create('\\notes.txt', 0x21), NT_STATUS.NOT_A_DIRECTORY)
  t.equal(create('\\', 0x40), NT_STATUS.FILE_IS_A_DIRECTORY)
  t.equal(create('\\', 0x41), NT_STATUS.INVALID_PARAMETER)
  t.equal(target.create('\\', { createDisposition: 6 }).status, NT_STATUS.INVALID_PARAMETER)
})

t.test('an answer to create has its size and says what was done', async t => {
  const target = new Target(two()).mount()
  const [open, openIf] = [1, 3].map(createDisposition => target.create('\\notes.txt', { createDisposition }).body)
  t.equal(open![4], 0, 'FILE_SUPERSEDED for FILE_OPEN, as [MS-RDPEFS] §2.2.3.4.1 wants it')
  t.equal(openIf![4], 1, 'FILE_OPENED for FILE_OPEN_IF')
  t.equal(open!.length, 5)
  t.same(target.create('\\other').body, new Uint8Array(5), 'a refusal has it too')
})

t.test('everything that would change the drive is refused and told', async t => {
  const files = two()
  const before = structuredClone(files.list())
  const target = new Target(files).mount()
  const access: Record<string, number> = {
    FILE_WRITE_DATA: 0x2,
    FILE_APPEND_DATA: 0x4,
    FILE_WRITE_EA: 0x10,
    FILE_DELETE_CHILD: 0x40,
    DELETE: 0x10000,
    WRITE_DAC: 0x40000,
    WRITE_OWNER: 0x80000,
    ACCESS_SYSTEM_SECURITY: 0x1000000,
    GENERIC_ALL: 0x10000000,
    GENERIC_WRITE: 0x40000000,
    'xrdp, open for both': 0x100013,
    'xrdp, rename': 0x10100,
    'xrdp, create': 0x0016019f,
  }
  const refused = (what: string, completion: { readonly status: number }, status: number) => {
    t.equal(completion.status, status, what)
    t.same(target.told.splice(0), [READ_ONLY], what)
  }
  for (const [what, desiredAccess] of Object.entries(access)) {
    refused(what, target.create('\\notes.txt', { desiredAccess }), NT_STATUS.ACCESS_DENIED)
    refused(`${what} of the root`, target.create('\\', { desiredAccess }), NT_STATUS.ACCESS_DENIED)
  }
  for (const createDisposition of [0, 2, 4, 5]) {
    for (const path of ['\\notes.txt', '\\new.txt', '\\']) {
      refused(`${createDisposition} ${path}`, target.create(path, { createDisposition }), NT_STATUS.ACCESS_DENIED)
    }
  }
  refused('OPEN_IF makes', target.create('\\new.txt', { createDisposition: 3 }), NT_STATUS.ACCESS_DENIED)
  const deleteOnClose = { desiredAccess: 0x110080, createOptions: 0x1000 }
  refused('DELETE_ON_CLOSE', target.create('\\notes.txt', deleteOnClose), NT_STATUS.CANNOT_DELETE)

  const id = target.open('\\notes.txt', { desiredAccess: 0x00100080 })
  const write = concat(new Writer().u32le(3).u64le(0n).zeros(20).finish(), hex('616263'))
  refused('write', target.answer(IRP_MJ.WRITE, id, write), NT_STATUS.MEDIA_WRITE_PROTECTED)
  for (const informationClass of [0x04, 0x0a, 0x0d, 0x13, 0x14, 0x40]) {
    const set = new Writer().u32le(informationClass).u32le(8).zeros(24).zeros(8).finish()
    const completion = target.answer(IRP_MJ.SET_INFORMATION, id, set)
    refused(`set information ${informationClass}`, completion, NT_STATUS.ACCESS_DENIED)
    t.same(completion.body, hex('08000000 00'), 'with the length of the request')
  }
  const label = new Writer().u32le(2).u32le(4).zeros(24).zeros(4).finish()
  refused('label', target.answer(IRP_MJ.SET_VOLUME_INFORMATION, id, label), NT_STATUS.MEDIA_WRITE_PROTECTED)
  t.same(files.list(), before)
  t.same(files.asked, [])
})

t.test('programs that read may ask for what they do not use', async t => {
  const target = new Target(two()).mount()
  for (const [what, desiredAccess] of [
    ['FILE_WRITE_ATTRIBUTES beside reading', 0x00120189],
    ['MAXIMUM_ALLOWED', 0x02000000],
    ['GENERIC_READ and GENERIC_EXECUTE', 0xa0000000],
    ['nothing', 0],
  ] as const) {
    t.equal(target.create('\\notes.txt', { desiredAccess }).status, NT_STATUS.SUCCESS, what)
  }
  t.same(target.told, [])
})

t.test('a file is read to the byte, within its end and 1 MiB a request', async t => {
  const files = two()
  const target = new Target(files).mount()
  const whole = content(3_000_000)
  const id = target.open('\\photo.jpg')
  const read = (offset: number | bigint, length: number) =>
    buffer(target.answer(IRP_MJ.READ, id, readBody(offset, length)))
  for (const [offset, length, got] of [
    [0, 1, 1],
    [1_234_567, 65_536, 65_536],
    [0, 1_048_576, 1_048_576],
    [0, 1_048_577, 1_048_576],
    [0, 0xffffffff, 1_048_576],
    [2_999_999, 100, 1],
    [3_000_000, 100, 0],
    [0x7fff_ffff_ffff_ffffn, 100, 0],
    [0xffff_ffff_ffff_ffffn, 100, 0],
    [5, 0, 0],
  ] as const) {
    const start = Number(offset)
    const expected = whole.subarray(start, start + got)
    t.ok(Buffer.from(read(offset, length)).equals(expected), `${length} bytes at ${offset}`)
  }
  t.ok(files.asked.every(([, offset, length]) => length > 0 && length <= 1_048_576 && offset + length <= 3_000_000))
  t.equal(
    target.passed,
    files.asked.reduce((sum, [, , length]) => sum + length, 0),
  )
})

t.test('the root and what is not open cannot be read', async t => {
  const target = new Target(two()).mount()
  t.equal(target.answer(IRP_MJ.READ, target.open('\\'), readBody(0, 1)).status, NT_STATUS.INVALID_DEVICE_REQUEST)
  const id = target.open('\\notes.txt')
  t.equal(target.answer(IRP_MJ.CLOSE, id, new Uint8Array(32)).status, NT_STATUS.SUCCESS)
  for (const [major, body] of [
    [IRP_MJ.CLOSE, new Uint8Array(32)],
    [IRP_MJ.READ, readBody(0, 1)],
    [IRP_MJ.QUERY_INFORMATION, queryBody(4)],
    [IRP_MJ.QUERY_VOLUME_INFORMATION, queryBody(1)],
    [IRP_MJ.LOCK_CONTROL, hex('02000000 00000000 00000000')],
  ] as const) {
    t.equal(target.answer(major, id, body).status, NT_STATUS.UNSUCCESSFUL, `major function ${major}`)
  }
  t.equal(target.answer(IRP_MJ.DIRECTORY_CONTROL, id, directoryBody(1, '\\*'), 1).status, NT_STATUS.UNSUCCESSFUL)
  t.equal(target.answer(IRP_MJ.DIRECTORY_CONTROL, id, new Uint8Array(32), 2).status, NT_STATUS.UNSUCCESSFUL)
})

t.test('one read is under way at a time, and open files take turns', async t => {
  const files = two()
  files.isPrompt = false
  const target = new Target(files).mount()
  const [one, other] = [target.open('\\notes.txt'), target.open('\\photo.jpg')]
  const ids = [target.read(one, 0, 1), target.read(one, 1, 2), target.read(one, 2, 3), target.read(other, 0, 4)]
  const order: number[] = []
  while (files.reads.length > 0) {
    t.equal(files.reads.length, 1)
    t.ok(target.drive.bufferedBytes > 0)
    files.reads.shift()!()
    order.push(...target.completions().map(({ completionId }) => completionId))
  }
  t.equal(order.length, ids.length)
  t.ok(order.indexOf(ids[3]!) <= 2, 'the other file does not wait for all reads of the first')
  t.ok(order.indexOf(ids[0]!) < order.indexOf(ids[1]!) && order.indexOf(ids[1]!) < order.indexOf(ids[2]!))
  t.equal(target.drive.bufferedBytes, 0)
})

t.test('a read that fails, is short or comes twice is answered once', async t => {
  const files = two()
  const target = new Target(files).mount()
  const id = target.open('\\notes.txt')
  const answers: ((result: ReadResult) => void)[] = []
  files.read = (_file, _offset, _length, done) => answers.push(done)
  const { UNEXPECTED_IO_ERROR, CRC_ERROR } = NT_STATUS
  const cases: [ReadResult, number][] = [
    ['failed', UNEXPECTED_IO_ERROR],
    [content(3), UNEXPECTED_IO_ERROR],
    [content(5), UNEXPECTED_IO_ERROR],
    [new Uint8Array(), UNEXPECTED_IO_ERROR],
    ['damaged', CRC_ERROR],
  ]
  for (const [result, status] of cases) {
    const completionId = target.read(id, 0, 4)
    const done = answers.shift()!
    done(result)
    done(content(4))
    t.match(target.completions(), [{ completionId, status, body: new Uint8Array(4) }])
  }
  target.read(id, 0, 4)
  answers.shift()!(content(4))
  t.match(target.completions(), [{ status: NT_STATUS.SUCCESS }], 'and the next one works')
  t.equal(target.passed, 4)
})

t.test('what is closed has its reads cancelled, and the file is not read twice at once', async t => {
  const files = two()
  files.isPrompt = false
  const target = new Target(files).mount()
  const [one, other] = [target.open('\\notes.txt'), target.open('\\photo.jpg')]
  const [first, second, third] = [target.read(one, 0, 10), target.read(one, 10, 10), target.read(other, 0, 10)]
  const close = target.ask(IRP_MJ.CLOSE, one, new Uint8Array(32))
  t.same(
    target.completions().map(({ completionId, status }) => [completionId, status]),
    [
      [first, NT_STATUS.CANCELLED],
      [second, NT_STATUS.CANCELLED],
      [close, NT_STATUS.SUCCESS],
    ],
  )
  t.equal(files.reads.length, 1)
  files.reads.shift()!()
  t.same(target.take(), [], 'what came back belongs to nobody')
  files.reads.shift()!()
  t.match(target.completions(), [{ completionId: third, status: NT_STATUS.SUCCESS }])
})

t.test('a file that is taken out of the list while it is open is gone', async t => {
  const files = two()
  const target = new Target(files).mount()
  const id = target.open('\\notes.txt')
  files.files = files.files.slice(1)
  target.drive.changed()
  t.equal(target.answer(IRP_MJ.READ, id, readBody(0, 10)).status, NT_STATUS.FILE_INVALID)
  t.equal(target.answer(IRP_MJ.QUERY_INFORMATION, id, queryBody(5)).status, NT_STATUS.FILE_INVALID)
  t.equal(target.create('\\notes.txt').status, NT_STATUS.OBJECT_NAME_NOT_FOUND)
  t.equal(target.answer(IRP_MJ.CLOSE, id, new Uint8Array(32)).status, NT_STATUS.SUCCESS)
  t.same(files.asked, [])
})

t.test('a listing tells each file once, and then that there are no more', async t => {
  const files = two()
  const target = new Target(files).mount()
  const root = target.open('\\', { createOptions: 1 })
  const query = (informationClass: number, path?: string) =>
    target.answer(IRP_MJ.DIRECTORY_CONTROL, root, directoryBody(informationClass, path), 1)
  /** The fixed part of each class in front of the name; the name's length stands at the end of it or before EaSize. */
  for (const [informationClass, fixed, lengthAt] of [
    [0x01, 64, 60],
    [0x02, 68, 60],
    [0x03, 93, 60],
    [0x0c, 12, 8],
  ] as const) {
    const first = buffer(query(informationClass, '\\*'))
    const second = buffer(query(informationClass))
    for (const [entry, { name, size }] of [
      [first, files.files[0]!],
      [second, files.files[1]!],
    ] as const) {
      t.same(entry.subarray(fixed), utf16(name), `class ${informationClass}`)
      t.equal(new Reader(entry, 'entry', lengthAt).u32le('FileNameLength'), name.length * 2)
      t.same(entry.subarray(0, 8), new Uint8Array(8))
      if (informationClass === 0x0c) continue
      t.equal(new Reader(entry, 'entry', 40).u64le('EndOfFile'), BigInt(size))
      t.equal(new Reader(entry, 'entry', 56).u32le('FileAttributes'), 0x80)
    }
    t.equal(query(informationClass).status, NT_STATUS.NO_MORE_FILES)
    t.equal(query(informationClass).status, NT_STATUS.NO_MORE_FILES)
  }
  t.equal(buffer(query(1, '\\*.jpg')).length, 64 + 18)
  t.equal(query(1).status, NT_STATUS.NO_MORE_FILES)
  t.equal(buffer(query(1, '\\NOTES.TXT')).length, 64 + 18)
  for (const path of ['\\*.exe', '\\folder\\*', '\\..\\*', `\\${'*'.repeat(600)}`]) {
    t.equal(query(1, path).status, NT_STATUS.NO_SUCH_FILE, path)
  }
  t.equal(query(0x25, '\\*').status, NT_STATUS.INVALID_INFO_CLASS)
  const file = target.open('\\notes.txt')
  const ofFile = target.answer(IRP_MJ.DIRECTORY_CONTROL, file, directoryBody(1, '\\*'), 1)
  t.equal(ofFile.status, NT_STATUS.INVALID_PARAMETER)
})

t.test('an empty drive has no file, and a listing that was not begun has no more', async t => {
  const target = new Target().mount()
  const root = target.open('\\')
  const query = (path?: string) => target.answer(IRP_MJ.DIRECTORY_CONTROL, root, directoryBody(1, path), 1)
  t.equal(query().status, NT_STATUS.NO_MORE_FILES)
  t.equal(query('\\*').status, NT_STATUS.NO_SUCH_FILE)
})

t.test('file information has the layouts of rdpdr, without reserved fields', async t => {
  const target = new Target(two()).mount()
  const query = (path: string, informationClass: number) =>
    target.answer(IRP_MJ.QUERY_INFORMATION, target.open(path), queryBody(informationClass))
  const basic = buffer(query('\\notes.txt', 4))
  t.equal(basic.length, 36)
  const ticks = new Reader(basic, 'basic').u64le('CreationTime')
  t.equal(Number(ticks / 10_000n - 11_644_473_600_000n), 1_767_323_045_000)
  t.same(buffer(query('\\notes.txt', 5)), hex('0020000000000000 8813000000000000 01000000 00 00'))
  t.same(buffer(query('\\', 5)), hex('0000000000000000 0000000000000000 01000000 00 01'))
  t.same(buffer(query('\\notes.txt', 0x23)), hex('80000000 00000000'))
  t.same(buffer(query('\\', 0x23)), hex('10000000 00000000'))
  for (const other of [0x06, 0x12, 0x22, 0xffffffff]) t.equal(query('\\', other).status, NT_STATUS.INVALID_INFO_CLASS)
})

t.test('the volume is full and read-only', async t => {
  const target = new Target(two()).mount()
  const root = target.open('\\')
  const query = (informationClass: number) =>
    target.answer(IRP_MJ.QUERY_VOLUME_INFORMATION, root, queryBody(informationClass))
  const units = (2 + 733).toString(16).padStart(4, '0')
  const total = `${units.slice(2)}${units.slice(0, 2)}000000000000`
  const none = '00'.repeat(8)
  const label = buffer(query(1))
  t.same(label.subarray(17), utf16('RAP_Transfers'))
  t.equal(new Reader(label, 'label', 12).u32le('VolumeLabelLength'), 26)
  t.same(buffer(query(3)), hex(`${total} ${none} 08000000 00020000`))
  t.same(buffer(query(7)), hex(`${total} ${none} ${none} 08000000 00020000`))
  t.same(buffer(query(5)), hex('06000800 ff000000 06000000 520041005000'))
  t.same(buffer(query(4)), hex('07000000 02000000'))
  for (const other of [2, 6, 8, 11]) t.equal(query(other).status, NT_STATUS.INVALID_INFO_CLASS)
})

t.test('who watches the directory is told once of a change, and of none at the end', async t => {
  const target = new Target(two()).mount()
  const root = target.open('\\')
  const watch = () => target.ask(IRP_MJ.DIRECTORY_CONTROL, root, new Uint8Array(32), 2)
  const first = watch()
  t.same(target.take(), [])
  target.drive.changed()
  t.same(target.completions(), [{ completionId: first, status: NT_STATUS.NOTIFY_ENUM_DIR, body: new Uint8Array(5) }])
  target.drive.changed()
  t.same(target.take(), [])
  const second = watch()
  const close = target.ask(IRP_MJ.CLOSE, root, new Uint8Array(32))
  t.same(target.completions(), [
    { completionId: second, status: NT_STATUS.SUCCESS, body: new Uint8Array(5) },
    { completionId: close, status: NT_STATUS.SUCCESS, body: new Uint8Array(4) },
  ])
})

t.test('locks hold, and control codes do nothing', async t => {
  const target = new Target(two()).mount()
  const id = target.open('\\notes.txt')
  for (const operation of [2, 3, 4, 5]) {
    const lock = new Writer().u32le(operation).u32le(0).u32le(0).zeros(20).finish()
    t.equal(target.answer(IRP_MJ.LOCK_CONTROL, id, lock).status, NT_STATUS.SUCCESS)
  }
  const control = target.answer(
    IRP_MJ.DEVICE_CONTROL,
    id,
    new Writer().u32le(0).u32le(0).u32le(0x900a8).zeros(20).finish(),
  )
  t.match(control, { status: NT_STATUS.INVALID_DEVICE_REQUEST, body: new Uint8Array(4) })
})

t.test('at most 256 files are open', async t => {
  const target = new Target(two()).mount()
  const ids = Array.from({ length: 256 }, () => target.open('\\notes.txt'))
  t.equal(new Set(ids).size, 256)
  t.equal(target.create('\\notes.txt').status, NT_STATUS.INSUFFICIENT_RESOURCES)
  t.same(target.told, [BUSY])
  target.answer(IRP_MJ.CLOSE, ids[0]!, new Uint8Array(32))
  t.notOk(ids.includes(target.open('\\notes.txt')), 'an id is not used again at once')
})

t.test('at most 64 requests wait, and 16 of them for a change', async t => {
  const files = two()
  files.isPrompt = false
  const target = new Target(files).mount()
  const root = target.open('\\')
  const id = target.open('\\notes.txt')
  for (let count = 0; count < 17; count++) target.ask(IRP_MJ.DIRECTORY_CONTROL, root, new Uint8Array(32), 2)
  t.same(
    target.completions().map(({ status }) => status),
    [NT_STATUS.INSUFFICIENT_RESOURCES],
  )
  for (let count = 0; count < 48; count++) target.read(id, 0, 1)
  t.same(target.take(), [])
  for (const major of [IRP_MJ.READ, IRP_MJ.QUERY_INFORMATION, IRP_MJ.WRITE]) {
    t.equal(target.answer(major, id, readBody(0, 1)).status, NT_STATUS.INSUFFICIENT_RESOURCES)
  }
  t.same(target.told, [BUSY, BUSY, BUSY, BUSY])
  while (files.reads.length > 0) files.reads.shift()!()
  t.equal(target.completions().length, 48)
})

t.test('while the way is not clear nothing is sent but refusals, and then everything in order', async t => {
  const files = two()
  const target = new Target(files).mount()
  const id = target.open('\\notes.txt')
  target.isClear = false
  const asked = [
    target.ask(IRP_MJ.QUERY_INFORMATION, id, queryBody(4)),
    target.read(id, 0, 100),
    target.ask(IRP_MJ.CLOSE, target.files.list().length, new Uint8Array(32)),
  ]
  t.same(target.take(), [])
  t.same(files.asked, [])
  target.drive.resume()
  t.same(target.take(), [], 'it is still not clear')
  target.isClear = true
  target.drive.resume()
  t.same(
    target
      .completions()
      .map(({ completionId }) => completionId)
      .sort(),
    asked,
  )
  t.equal(target.drive.bufferedBytes, 0)
})

t.test('bytes that come back while the way is not clear wait, and no further read begins', async t => {
  const files = two()
  files.isPrompt = false
  const target = new Target(files).mount()
  const id = target.open('\\notes.txt')
  const first = target.read(id, 0, 100)
  target.read(id, 100, 100)
  target.isClear = false
  files.reads.shift()!()
  t.same(target.take(), [])
  t.equal(files.reads.length, 0)
  t.ok(target.drive.bufferedBytes >= 100)
  target.isClear = true
  target.drive.resume()
  t.match(target.completions(), [{ completionId: first, status: NT_STATUS.SUCCESS }])
  t.equal(files.reads.length, 1)
})

t.test(
  'a target that searches the longest names without end is told that it is too much, and stops nobody',
  async t => {
    const files = new MemoryFiles()
    files.files = Array.from({ length: 1000 }, (_, at) => {
      return { id: String(at), name: `${'a'.repeat(251)}${String(at).padStart(4, '0')}`, size: 1, modifiedAt: 1 }
    })
    const target = new Target(files).mount()
    const root = target.open('\\')
    const started = process.cpuUsage()
    for (let round = 0; round < 200; round++) {
      target.ask(IRP_MJ.DIRECTORY_CONTROL, root, directoryBody(3, `\\${'*a'.repeat(250)}b`), 1)
      target.ask(IRP_MJ.CREATE, 0, createBody({ ...SEARCHED, path: `\\${'a'.repeat(255)}` }))
      target.ask(IRP_MJ.QUERY_VOLUME_INFORMATION, root, queryBody(1))
    }
    t.ok(process.cpuUsage(started).user < 2_000_000, 'a single search took more before')
    const statuses = target.completions().map(({ status }) => status)
    t.equal(statuses.filter(status => status === NT_STATUS.INSUFFICIENT_RESOURCES).length, 200)
    t.equal(statuses.length, 600)
    t.ok(target.told.every(told => told === BUSY))
    t.equal(target.answer(IRP_MJ.DIRECTORY_CONTROL, root, directoryBody(3, '\\*'), 1).status, NT_STATUS.SUCCESS)
  },
)

t.test('a write of any size is refused, and its bytes are not kept', async t => {
  const target = new Target(two()).mount()
  const id = target.open('\\notes.txt')
  let most = 0
  for (const size of [60_000, 65_536, 5_000_000]) {
    const body = concat(new Writer().u32le(size).u64le(0n).zeros(20).finish(), new Uint8Array(size))
    for (const chunk of chunks(ioRequest({ majorFunction: IRP_MJ.WRITE, fileId: id, completionId: 9 }, body))) {
      target.drive.fromServer(chunk)
      most = Math.max(most, target.drive.bufferedBytes)
    }
    t.ok(most <= 65_536)
    t.match(target.completions(), [{ completionId: 9, status: NT_STATUS.MEDIA_WRITE_PROTECTED }])
    t.same(target.told.splice(0), [READ_ONLY])
  }
  const long = ioRequest({ majorFunction: IRP_MJ.READ, fileId: id, completionId: 9 }, new Uint8Array(70_000))
  for (const chunk of chunks(long)) target.drive.fromServer(chunk)
  t.match(target.completions(), [{ completionId: 9, status: NT_STATUS.INVALID_PARAMETER }])
  t.same(target.told.splice(0), [MALFORMED])
})

t.test('malformed input is dropped, and answered where its header was read', async t => {
  const target = new Target(two()).mount()
  const dropped = [
    hex(''),
    hex('7244'),
    hex('50524350 00000000'),
    hex('72444e43'),
    hex('72445249 01000000 01000000'),
    DEVICE_ACCEPTED,
    ioRequest({ majorFunction: 0, fileId: 0, completionId: 1, deviceId: 2 }, new Uint8Array(40)),
  ]
  for (const message of dropped) {
    target.say(message)
    t.same(target.take(), [])
    t.same(target.told.splice(0), [MALFORMED])
  }
  for (const [majorFunction, body] of [
    [IRP_MJ.CREATE, new Uint8Array(20)],
    [IRP_MJ.READ, new Uint8Array(4)],
    [IRP_MJ.DIRECTORY_CONTROL, new Uint8Array(40)],
    [0x14, new Uint8Array(40)],
    [
      IRP_MJ.CREATE,
      changed(createBody({ desiredAccess: 1, createDisposition: 1, createOptions: 0, path: 'a' }), 28, 3),
    ],
  ] as const) {
    t.equal(target.answer(majorFunction, 0, body).status, NT_STATUS.INVALID_PARAMETER)
    t.same(target.told.splice(0), [MALFORMED])
  }
})

t.test('nothing is answered before a sequence and before the device is known', async t => {
  const request = ioRequest({ majorFunction: IRP_MJ.CREATE, fileId: 0, completionId: 1 }, new Uint8Array(32))
  const target = new Target(two()).say(CAPABILITY_REQUEST, USER_LOGGED_ON, CLIENT_ID_CONFIRM, DEVICE_ACCEPTED, request)
  t.same(target.take(), [])
  t.same(target.told.splice(0), Array(5).fill(MALFORMED))
  target.say(SERVER_ANNOUNCE)
  target.take()
  target.say(request, DEVICE_ACCEPTED)
  t.same(target.take(), [])
  t.same(target.mounts, [])
})

t.test('a drive that is taken away fails what is pending, removes itself, and does not come back', async t => {
  const files = two()
  files.isPrompt = false
  const target = new Target(files).mount()
  const root = target.open('\\')
  const id = target.open('\\notes.txt')
  const pending = [
    target.read(id, 0, 1),
    target.read(id, 0, 2),
    target.ask(IRP_MJ.DIRECTORY_CONTROL, root, new Uint8Array(32), 2),
  ]
  target.isClear = false
  pending.push(target.ask(IRP_MJ.QUERY_INFORMATION, id, queryBody(4)))
  target.isClear = true
  target.drive.close()
  target.drive.close()
  const sent = target.take()
  t.same(sent.at(-1), DEVICE_REMOVE)
  const answers = sent.slice(0, -1).map(decodeCompletion)
  t.same(answers.map(({ completionId }) => completionId).sort(), pending)
  t.ok(answers.every(({ status }) => status === NT_STATUS.DEVICE_REMOVED))
  t.same(target.mounts, [true, false])
  files.reads.shift()!()
  target.drive.resume()
  target.drive.changed()
  t.same(target.take(), [])
  for (const [major, body] of [
    [IRP_MJ.CREATE, createBody({ desiredAccess: 1, createDisposition: 1, createOptions: 0, path: '\\notes.txt' })],
    [IRP_MJ.READ, readBody(0, 1)],
    [IRP_MJ.CLOSE, new Uint8Array(32)],
  ] as const) {
    t.equal(target.answer(major, id, body).status, NT_STATUS.DEVICE_REMOVED)
  }
  target.say(SERVER_ANNOUNCE, USER_LOGGED_ON, CAPABILITY_REQUEST, CLIENT_ID_CONFIRM)
  t.notOk(target.take().some(message => contains(message, hex('72444144'))))
  t.equal(files.asked.length, 1)
})

t.test('a server that cannot take a removal is not sent one', async t => {
  const target = new Target(two()).say(SERVER_ANNOUNCE, USER_LOGGED_ON, NO_REMOVAL, CLIENT_ID_CONFIRM, DEVICE_ACCEPTED)
  target.take()
  target.drive.close()
  t.same(target.take(), [])
  t.same(target.mounts, [true, false])
})
