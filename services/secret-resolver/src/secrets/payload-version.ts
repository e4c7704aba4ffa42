const MEMBER = Buffer.from(',"rotation_version":', 'latin1')

/**
 * A stored payload with another `rotation_version`, for a version that repeats an older one.
 *
 * The member is the last one of what `canonicalPayload` writes, so everything before it is copied as it is. The caller
 * owns, and zeroes, both buffers.
 */
export function withRotationVersion(canonical: Buffer, rotationVersion: number): Buffer {
  const end = canonical.lastIndexOf(MEMBER)
  if (end < 0) throw new RangeError('stored payload has no rotation_version')
  const tail = Buffer.from(`${rotationVersion}}`, 'latin1')
  const payload = Buffer.alloc(end + MEMBER.length + tail.length)
  canonical.copy(payload, 0, 0, end + MEMBER.length)
  tail.copy(payload, end + MEMBER.length)
  return payload
}
