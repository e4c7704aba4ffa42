import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { ntowfv1 } from '@rap/rdp/credssp'

const PAGE_BYTES = 4096
/** Pages that are read at once. */
const MAX_PAGES = 2048
/** Longer than any form that is searched for, so that none is cut by the end of a read. */
const OVERLAP_PAGES = 1
/** Bits of an entry of pagemap: in memory, in swap. */
const PRESENT_OR_SWAPPED = 0xc0

/** One place where a secret, or a good part of it, was found. */
export interface Finding {
  readonly form: string
  readonly region: string
  /** What stands around it, to see what kind of copy it is. The secret is one that the test made. */
  readonly around: string
}

interface Form {
  readonly name: string
  readonly pattern: Buffer
}

/**
 * Every copy of a secret in the writable memory of a process (Linux, as its owner or root), in any usual form.
 *
 * Halves are searched for as well: freed memory keeps most of a copy, and its first bytes are overwritten at once.
 */
export function searchMemory(pid: number, secret: string): Finding[] {
  const forms = formsOf(secret)
  const findings: Finding[] = []
  const files = { memory: openSync(`/proc/${pid}/mem`, 'r'), pagemap: openSync(`/proc/${pid}/pagemap`, 'r') }
  const buffer = Buffer.alloc((MAX_PAGES + OVERLAP_PAGES) * PAGE_BYTES)
  try {
    for (const region of writableRegions(pid)) {
      for (const { at, size } of residentRuns(files.pagemap, region)) {
        const bytes = readAt(files.memory, buffer, at, size)
        for (const { name, pattern } of forms) {
          const index = bytes.indexOf(pattern)
          if (index < 0) continue
          const around = bytes.subarray(Math.max(0, index - 64), index + pattern.length + 64).toString('latin1')
          findings.push({ form: name, region: region.name, around: around.replaceAll(/[^ -~]/g, '.') })
        }
      }
    }
  } finally {
    closeSync(files.memory)
    closeSync(files.pagemap)
  }
  return findings
}

function formsOf(secret: string): Form[] {
  const half = Math.floor(secret.length / 2)
  const forms: Form[] = []
  for (const encoding of ['utf8', 'utf16le'] as const) {
    forms.push({ name: `first half, ${encoding}`, pattern: Buffer.from(secret.slice(0, half), encoding) })
    const second = Buffer.from(secret.slice(half), encoding)
    forms.push({ name: `second half, ${encoding}`, pattern: second }, ...textForms(`second half, ${encoding}`, second))
  }
  // Whoever has the NT hash can log in with it.
  const hash = Buffer.from(ntowfv1(Buffer.from(secret, 'utf16le')))
  return [...forms, { name: 'NT hash', pattern: hash }, ...textForms('NT hash', hash)]
}

function textForms(name: string, bytes: Buffer): Form[] {
  const texts = new Map<string, string>([
    ['hex', bytes.toString('hex')],
    ['HEX', bytes.toString('hex').toUpperCase()],
  ])
  // Base64 of a text that holds these bytes, at each of the three offsets; the characters that depend on what is around
  // are left out.
  for (const offset of [0, 1, 2]) {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    const whole = encoded.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6))
    texts.set(`base64 +${offset}`, whole)
    if (/[+/]/.test(whole)) texts.set(`base64url +${offset}`, whole.replaceAll('+', '-').replaceAll('/', '_'))
  }
  return [...texts].map(([kind, text]) => ({ name: `${name} in ${kind}`, pattern: Buffer.from(text, 'latin1') }))
}

/** A process and all below it. */
export function processTree(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      // The name in parentheses may hold anything, so the fields are counted from its end.
      const stat = readFileSync(`/proc/${entry}/stat`, 'latin1')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)])
    } catch {
      // It has ended meanwhile.
    }
  }
  const below = (id: number): number[] => [id, ...(children.get(id) ?? []).flatMap(below)]
  return below(pid)
}

interface Region {
  readonly start: number
  readonly end: number
  readonly name: string
}

function writableRegions(pid: number): Region[] {
  return readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap(line => {
      const [, from, to, name] = /^([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+\s*(.*)$/.exec(line) ?? []
      // The kernel's own pages cannot be read. Addresses of user space fit a number.
      if (from === undefined || to === undefined || name === undefined || name.startsWith('[v')) return []
      return [{ start: Number.parseInt(from, 16), end: Number.parseInt(to, 16), name: name || 'anonymous' }]
    })
}

/** The parts of a region that were ever touched; most of what a process has reserved was not. */
function* residentRuns(pagemap: number, { start, end }: Region): Generator<{ at: number; size: number }> {
  const entries = Buffer.alloc(MAX_PAGES * 8)
  for (let at = start; at < end; at += MAX_PAGES * PAGE_BYTES) {
    const pages = Math.min(MAX_PAGES, (end - at) / PAGE_BYTES)
    readSync(pagemap, entries, 0, pages * 8, (at / PAGE_BYTES) * 8)
    let first: number | undefined
    for (let page = 0; page <= pages; page++) {
      const isThere = page < pages && ((entries[page * 8 + 7] as number) & PRESENT_OR_SWAPPED) !== 0
      if (isThere) first ??= page
      else if (first !== undefined) {
        const from = at + first * PAGE_BYTES
        const to = Math.min(end, at + (page + OVERLAP_PAGES) * PAGE_BYTES)
        yield { at: from, size: to - from }
        first = undefined
      }
    }
  }
}

function readAt(memory: number, buffer: Buffer, at: number, size: number): Buffer {
  try {
    return buffer.subarray(0, readSync(memory, buffer, 0, size, at))
  } catch {
    // Gone meanwhile.
    return buffer.subarray(0, 0)
  }
}
