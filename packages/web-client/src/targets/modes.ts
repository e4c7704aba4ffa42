/** What can vouch for a desktop, as people choose it; `insecure` is not offered. */
export const MODES = [
  { value: 'strict', label: 'Certificate authority', description: 'An authority vouches for it, and its name.' },
  { value: 'platform_ca', label: 'Platform certificate authority', description: 'RAP’s own authority vouches for it.' },
  { value: 'pinned', label: 'Approved certificates', description: 'Only what somebody compared and approved.' },
] as const

export function modeLabel(mode: string): string {
  return MODES.find(({ value }) => value === mode)?.label ?? (mode === 'insecure' ? 'Anything, unchecked' : mode)
}
