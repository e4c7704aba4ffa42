interface Element {
  readonly tag: number
  /** Where its contents begin and end. */
  readonly begin: number
  readonly end: number
}

/**
 * The tags of what one DER SEQUENCE holds, or undefined for bytes that are not exactly one, well-formed to that depth.
 *
 * Spec: X.690 §8.1.2 (single-octet tags), §10.1 (definite lengths, of at most two octets here, so 65,535 bytes).
 */
export function sequenceTags(der: Uint8Array): number[] | undefined {
  const outer = elementAt(der, 0)
  if (outer?.tag !== 0x30 || outer.end !== der.length) return undefined
  const tags: number[] = []
  let at = outer.begin
  while (at < outer.end) {
    const inner = elementAt(der, at)
    if (inner === undefined) return undefined
    tags.push(inner.tag)
    at = inner.end
  }
  return tags
}

function elementAt(der: Uint8Array, at: number): Element | undefined {
  const [tag, first, second = 0, third = 0] = der.subarray(at, at + 4)
  if (tag === undefined || first === undefined) return undefined
  const [octets, length] = first < 0x80 ? [0, first] : first === 0x81 ? [1, second] : [2, second * 256 + third]
  if (first > 0x82 || first === 0x80) return undefined
  const begin = at + 2 + octets
  return begin + length <= der.length ? { tag, begin, end: begin + length } : undefined
}
