import { type NewAuthority, openAuthority, type SigningAuthority } from '../src/index.ts'

export const now = new Date()
export const DAY_MS = 86_400_000
export const after = (days: number): Date => new Date(now.getTime() + days * DAY_MS)

/** Opens an authority that was just made, as a caller would after it has put the key away. */
export async function opened(made: Promise<NewAuthority> | NewAuthority): Promise<SigningAuthority> {
  const { certificatePem, privateKey } = await made
  const authority = await openAuthority(certificatePem, privateKey)
  privateKey.fill(0)
  return authority
}
