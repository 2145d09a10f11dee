import { stripVTControlCharacters } from 'node:util'
import { KilnError } from '../domain/error.ts'

/**
 * Text that others wrote, made safe for a terminal: no escape sequences, no control or direction
 * characters. Tabs and line feeds stay.
 */
export function clean(text: string): string {
  return stripVTControlCharacters(text).replaceAll(
    /[^\P{Cc}\t\n]|[\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu,
    '',
  )
}

/** One line of it. */
export function cleanLine(text: string): string {
  return clean(text).replaceAll(/[\t\n]+/g, ' ')
}

const units = [
  { name: 'day', ms: 86_400_000 },
  { name: 'h', ms: 3_600_000 },
  { name: 'min', ms: 60_000 },
] as const

/** How long ago, roughly: `5 min ago`. */
export function ago(time: string, now: Date): string {
  const ms = now.getTime() - Date.parse(time)
  const unit = units.find((one) => ms >= one.ms)
  if (unit === undefined) return 'just now'
  const count = Math.floor(ms / unit.ms)
  return `${count} ${unit.name}${unit.name === 'day' && count > 1 ? 's' : ''} ago`
}

/** A length of time as people read it: `1.2 s`, `3 min 5 s`. */
export function lengthOf(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`
}

const perUnit = { s: 1000, m: 60_000, h: 3_600_000 } as const

/** Reads `90s`, `15m`, `1h30m` as milliseconds. */
export function parseDuration(text: string, place = '--wait'): number {
  if (!/^([0-9]{1,6}[smh])+$/.test(text)) {
    throw new KilnError('invalid_input', `not a length of time: ${text}`, {
      place,
      fix: 'write it as 90s, 15m or 1h30m',
    })
  }
  const parts = [...text.matchAll(/([0-9]+)([smh])/g)]
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * perUnit[unit as 's'], 0)
}

/** An amount of bytes as people read it. */
export function bytesInWords(bytes: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const
  const at = Math.min(4, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  return `${Math.round((bytes / 1024 ** at) * 10) / 10} ${names[at]}`
}
