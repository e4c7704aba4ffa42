/**
 * Names of uploaded files: as a person's machine gives them, made safe for Windows, xrdp, a terminal and the portal.
 *
 * docs/protocols/uploads.md has the rules with their reasons. What an honest machine can produce is repaired and shown to the person; what has
 * no honest use is refused.
 */

/** Longest name as it arrives, in UTF-16 units. */
export const MAX_GIVEN_NAME_UNITS = 1024
/** Longest safe name in UTF-16 units (NTFS) and in UTF-8 bytes (Linux NAME_MAX). */
export const MAX_NAME_LENGTH = 255
/** An extension that is longer, in UTF-8 bytes with its dot, is not kept when a name is cut. */
const MAX_KEPT_EXTENSION_BYTES = 32
/** Marks on one letter; more of them paint over the lines around. */
const MAX_MARKS = 8
/** Repairs that bring forth another repair; a name that still moves after so many is refused. */
const MAX_ROUNDS = 8

/** C0, DEL, C1 (which a terminal obeys) and the two line separators. */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}]/u
/** What shows nothing and may turn the text around; the joiners are judged by their neighbours. */
const INVISIBLE = /[[\p{Cf}\p{Default_Ignorable_Code_Point}]--[\u200c\u200d]]/gv
/** Joiners that Persian and Indic scripts need stand between two letters of theirs. */
const IDLE_JOINER = /(?<![[\p{L}\p{M}]--[a-zA-Z]])[\u200c\u200d]|[\u200c\u200d](?![\p{L}--[a-zA-Z]])/gv
/** Runs of spaces push an extension out of sight; U+2800 looks like one. */
const SPACES = /[\p{Zs}\u2800]+/gu
/**
 * Forbidden by Windows; private use, which Samba, Cygwin and WSL read as forbidden ASCII; what looks like a path separator, or is one in a code
 * page (the yen sign in 932, the won sign in 949); and all beyond the Basic Multilingual Plane, which xrdp 0.9 does not convert.
 */
const FORBIDDEN =
  /[<>:"|?*\p{Co}\p{Noncharacter_Code_Point}\u{10000}-\u{10ffff}\u00a5\u20a9\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c\uffe5\uffe6]/gu
const TOO_MANY_MARKS = new RegExp(`(\\p{Mn}{${MAX_MARKS}})\\p{Mn}+`, 'gu')
/** Windows drops dots and spaces at the end; Linux hides what begins with a dot. A mark at the start would sit on what stands before the name. */
const EDGES = /^[. \p{M}]+|[. ]+$/gu
/** `tar *` and `rm *` take it for an option. */
const OPTION = /^-/
/** DOS devices, whatever follows the first dot; spaces in front of it do not count. Compared in NFKC: COM¹ is COM1. */
const DEVICE = /^(?:CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|COM\d|LPT\d) *(?:\.|$)/i

/**
 * What the Explorer acts upon as soon as it shows the folder: it may fetch an icon from any server, and logs on there as the target's account. The
 * desktops of Linux show launchers under the name and the icon that these give themselves.
 */
const ACTIVE_NAMES = new Set(['autorun.inf', 'desktop.ini', 'folder.htt', 'thumbs.db', 'ehthumbs.db'])
const ACTIVE_EXTENSIONS = new Set([
  'lnk',
  'pif',
  'scf',
  'url',
  'website',
  'library-ms',
  'search-ms',
  'searchconnector-ms',
  'theme',
  'themepack',
  'deskthemepack',
  'desktop',
  'mydocs',
  'mapimail',
  'desklink',
  'zfsendtotarget',
])

/**
 * The name under which an upload called `given` may stand in RAP_Transfers, or undefined where there is none.
 *
 * INVARIANT: a safe name is its own safe name.
 */
export function safeFileName(given: string): string | undefined {
  if (given.length > MAX_GIVEN_NAME_UNITS || !given.isWellFormed()) return undefined
  const component = given.slice(Math.max(given.lastIndexOf('/'), given.lastIndexOf('\\')) + 1)
  if (CONTROLS.test(component)) return undefined
  let name = component
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const next = cutName(repair(name), '')
    if (next === undefined || next === '') return undefined
    if (next === name) return isActive(name) ? undefined : name
    name = next
  }
  return undefined
}

/** The last extension, lower case and without its dot; `""` for a name without one. */
export function extensionOf(name: string): string {
  return name.slice(stemLength(name) + 1).toLowerCase()
}

/** Two safe names with the same key are one name to Windows. It may find names the same that are not; never the other way round. */
export function nameKey(name: string): string {
  return name.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase().normalize('NFKC')
}

/**
 * A safe name, or `name (2).ext` and so on, so that it is not taken; numbers that follow each other are filled in order.
 *
 * `isTaken` is asked with keys of names, and seldom: whoever sends the same name a thousand times makes us look up no million.
 */
export function distinctName(name: string, isTaken: (key: string) => boolean): string {
  let taken = 0
  let free = 1
  while (isTaken(nameKey(numbered(name, free)))) {
    taken = free
    free *= 2
  }
  while (free - taken > 1) {
    const middle = Math.floor((taken + free) / 2)
    if (isTaken(nameKey(numbered(name, middle)))) taken = middle
    else free = middle
  }
  return numbered(name, free)
}

function numbered(name: string, number: number): string {
  const result = number === 1 ? name : cutName(name, ` (${number})`)
  if (result === undefined) throw new TypeError('name is not a safe one')
  return result
}

function repair(name: string): string {
  const tidy = name
    .normalize('NFC')
    .replace(INVISIBLE, '')
    .replace(IDLE_JOINER, '')
    .replace(SPACES, ' ')
    .replace(FORBIDDEN, '_')
    .replace(TOO_MANY_MARKS, '$1')
    .replace(EDGES, '')
    .replace(OPTION, '_')
  return DEVICE.test(tidy.normalize('NFKC')) ? `_${tidy}` : tidy
}

function isActive(name: string): boolean {
  // By the key, for programs that make ASCII of full-width letters.
  const key = nameKey(name)
  return ACTIVE_NAMES.has(key) || ACTIVE_EXTENSIONS.has(extensionOf(key))
}

/** Length of the name without its last extension. A dot at the start begins no extension. */
function stemLength(name: string): number {
  const dot = name.lastIndexOf('.')
  return dot <= 0 ? name.length : dot
}

/** Puts `suffix` behind the stem and cuts the stem until all fits; undefined where the extension leaves no room. */
function cutName(name: string, suffix: string): string | undefined {
  const stem = [...name.slice(0, stemLength(name))]
  const tail = suffix + name.slice(stemLength(name))
  const build = () => stem.join('').replace(/[. ]+$/, '') + tail
  if (fits(name + suffix)) return stem.join('') + tail
  if (utf8Length(tail) > MAX_KEPT_EXTENSION_BYTES + suffix.length) return undefined
  while (stem.length > 0 && !fits(build())) stem.pop()
  return stem.length === 0 ? undefined : build()
}

function fits(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && utf8Length(name) <= MAX_NAME_LENGTH
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length
}
