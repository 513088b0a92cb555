// Numbers, sizes and times as people read them. Pure; the language is an argument.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** `1536` → `1.5 KiB`. */
export function bytes(n: unknown): string {
  let value = Number(n)
  if (n === null || n === undefined || n === '' || !Number.isFinite(value)) return '–'
  let unit = 0
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`
}
/** Mebibytes, the unit of memory and disks on the wire. */
export const mib = (n: unknown): string => (n === null || n === undefined || n === '' ? '–' : bytes(Number(n) * 1024 * 1024))

/** `20g`, `512 MiB`, `2T` or a plain number of MiB, in MiB; NaN when it is none. */
export function parseMib(text: string): number {
  const found = /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?\s*$/i.exec(text)
  if (!found) return NaN
  const power = { k: -1, '': 0, m: 0, g: 1, t: 2, p: 3 }[found[2].toLowerCase()] ?? 0
  return Math.round(Number(found[1]) * 1024 ** power)
}

/** Making a formatter costs far more than using it: one of each for a language. */
const once = <T>(make: (lang: string) => T) => {
  const made = new Map<string, T>()
  return (lang: string): T => made.get(lang) ?? (made.set(lang, make(lang)), made.get(lang)!)
}
const dates = once((lang) => new Intl.DateTimeFormat(lang, { dateStyle: 'medium', timeStyle: 'medium' }))
const distances = once((lang) => new Intl.RelativeTimeFormat(lang, { numeric: 'auto' }))

export const when = (iso: string | null | undefined, lang: string): string => {
  const date = iso ? new Date(iso) : null
  return date && !isNaN(+date) ? dates(lang).format(date) : '–'
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [['year', 31_536_000], ['month', 2_592_000], ['day', 86_400], ['hour', 3600], ['minute', 60]]

/** `3 minutes ago`; within a minute the seconds. */
export function ago(iso: string | null | undefined, lang: string, now = Date.now()): string {
  const date = iso ? new Date(iso) : null
  if (!date || isNaN(+date)) return '–'
  const seconds = Math.round((+date - now) / 1000)
  const words = distances(lang)
  for (const [unit, length] of STEPS) if (Math.abs(seconds) >= length) return words.format(Math.round(seconds / length), unit)
  return words.format(Math.min(seconds, 0), 'second')
}

/** Milliseconds between two times, as `1.2 s` or `3 min 5 s`. */
export function took(from?: string | null, to?: string | null, now = Date.now()): string {
  if (!from) return '–'
  const ms = (to ? +new Date(to) : now) - +new Date(from)
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

/** `100,000`, as both languages write it; the browser's own formatter takes longer to come than the rest of a page. */
export const grouped = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ',')
export const percent = (part: number, whole: number): number => (whole > 0 ? Math.min(100, Math.round((part / whole) * 100)) : 0)

export const toNumber = (address: string): number => address.split('.').reduce((n, part) => n * 256 + Number(part), 0)
export const toAddress = (n: number): string => [24, 16, 8, 0].map((shift) => Math.floor(n / 2 ** shift) % 256).join('.')

/** Old and new values of an audit event's notes; null when the notes are no document of changes. */
export function changes(notes: string): null | { field: string; old: unknown; new: unknown }[] {
  try {
    const found = JSON.parse(notes)
    if (!found || typeof found !== 'object' || Array.isArray(found)) return null
    return Object.entries(found).map(([field, v]: [string, any]) =>
      v && typeof v === 'object' && ('old' in v || 'new' in v) ? { field, old: v.old, new: v.new } : { field, old: undefined, new: v },
    )
  } catch {
    return null
  }
}
