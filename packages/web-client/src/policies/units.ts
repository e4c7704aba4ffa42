/** A unit that a person writes a limit in. */
export interface Unit {
  readonly label: string
  /** How many of the limit's own unit it has. */
  readonly size: number
}

/** From the smallest to the largest. */
export const DURATIONS: readonly Unit[] = [
  { label: 'seconds', size: 1 },
  { label: 'minutes', size: 60 },
  { label: 'hours', size: 3600 },
  { label: 'days', size: 86_400 },
]
export const SIZES: readonly Unit[] = [
  { label: 'bytes', size: 1 },
  { label: 'KB', size: 2 ** 10 },
  { label: 'MB', size: 2 ** 20 },
  { label: 'GB', size: 2 ** 30 },
]
export const COUNTS: readonly Unit[] = [{ label: 'files', size: 1 }]

/** The largest unit in which a value is a whole number. */
export function unitFor(value: number, units: readonly Unit[]): Unit {
  const whole = units.filter(({ size }) => value !== 0 && value % size === 0)
  return whole.at(-1) ?? (units[0] as Unit)
}

/** A time in its largest whole unit: `90 seconds`, `15 minutes`, `1 hour`. */
export function durationText(seconds: number): string {
  const { label, size } = unitFor(seconds, DURATIONS)
  const count = seconds / size
  return `${count.toLocaleString()} ${count === 1 ? label.slice(0, -1) : label}`
}
