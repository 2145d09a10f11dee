import type { TarEntry } from './tar-entry.ts'
import { TarFault } from './tar-header.ts'

export type PaxRecords = ReadonlyMap<string, string>

export const xattrPrefix = 'SCHILY.xattr.'

/** Records that say nothing about the file system that Kiln keeps: known, and left out. */
const ignored = new Set(['atime', 'ctime', 'comment', 'uname', 'gname', 'hdrcharset'])

/** Reads the body of a pax header: `<length> <key>=<value>\n`, again and again. Throws a TarFault. */
export function parsePax(body: string): PaxRecords {
  const records = new Map<string, string>()
  for (let at = 0; at < body.length;) {
    const digits = /^[1-9][0-9]{0,9}(?= )/.exec(body.slice(at, at + 11))?.[0]
    const length = Number(digits)
    const record = body.slice(at, at + length)
    const equals = record.indexOf('=')
    if (digits === undefined || record.length !== length || !record.endsWith('\n') || equals < 0) {
      throw new TarFault('a pax record whose length is wrong')
    }
    const key = record.slice(digits.length + 1, equals)
    if (key === '' || records.has(key)) throw new TarFault(`two pax records named ${show(key)}`)
    records.set(key, record.slice(equals + 1, -1))
    at += length
  }
  return records
}

/** A global header may only comment (as git's does): readers disagree about all else in it. */
export function checkGlobalPax(records: PaxRecords): void {
  for (const key of records.keys()) {
    if (key !== 'comment') throw new TarFault(`a global pax header that sets ${show(key)}`)
  }
}

/** The entry with what a pax header says of it. Throws a TarFault for a record that Kiln does not know. */
export function applyPax(entry: TarEntry, records: PaxRecords): TarEntry {
  const xattrs = new Map<string, string>()
  let next: TarEntry = { ...entry, xattrs }
  for (const [key, value] of records) {
    if (key.startsWith(xattrPrefix)) xattrs.set(key.slice(xattrPrefix.length), value)
    else if (!ignored.has(key)) next = { ...next, ...paxField(key, value) }
  }
  return next
}

function paxField(key: string, value: string): Partial<TarEntry> {
  switch (key) {
    case 'path':
      return { name: paxName(value) }
    case 'linkpath':
      return { linkname: paxName(value) }
    case 'size':
    case 'uid':
    case 'gid':
      return { [key]: paxNumber(key, value) }
    case 'mtime':
      return { mtime: paxTime(value) }
    default:
      throw new TarFault(`a pax record that Kiln does not know: ${show(key)}`)
  }
}

function paxName(value: string): string {
  if (value === '' || value.includes('\0'))
    throw new TarFault('a pax name that is empty or has a NUL')
  return value
}

function paxNumber(key: string, value: string): number {
  const number = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN
  if (!Number.isSafeInteger(number)) throw new TarFault(`a pax ${key} that is no number`)
  return number
}

/** Seconds with a fraction, which is cut off towards the past. */
function paxTime(value: string): number {
  if (!/^-?[0-9]{1,15}(\.[0-9]{1,20})?$/.test(value))
    throw new TarFault('a pax mtime that is no time')
  return Math.floor(Number(value)) + 0
}

function show(key: string): string {
  return JSON.stringify(key.slice(0, 100))
}
