import { KilnError } from '../domain/error.ts'
import { placeOf } from './entry-name.ts'
import type { TarEntry, TarType } from './tar-entry.ts'
import { blockSize, paddingOf } from './tar-entry.ts'
import { xattrPrefix } from './tar-pax.ts'

const flagOfType = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
} as const satisfies Record<TarType, string>

const biggestId = 0o7777777
const biggestSize = 0o77777777777

/** What is to be written: for a file, exactly `entry.size` bytes of content. */
export type TarOutput = { entry: TarEntry; body?: AsyncIterable<Uint8Array> | Iterable<Uint8Array> }

/**
 * Writes a tar in one form only, so that the same entries always give the same bytes: ustar, with a pax
 * header where a value does not fit, its records sorted, and no names of owners. Throws `internal` when
 * content is not as long as its entry says.
 */
export async function* writeTar(
  outputs: AsyncIterable<TarOutput> | Iterable<TarOutput>,
): AsyncGenerator<Uint8Array> {
  for await (const { entry, body } of outputs) {
    yield headerBytes(entry)
    let written = 0
    for await (const bytes of body ?? []) {
      written += bytes.length
      yield bytes
    }
    if (written !== entry.size) {
      throw new KilnError('internal', `${written} bytes of content where ${entry.size} were said`, {
        place: placeOf(entry.name),
      })
    }
    if (paddingOf(written) > 0) yield Buffer.alloc(paddingOf(written))
  }
  yield Buffer.alloc(2 * blockSize)
}

/** The header of an entry, with its pax header before it where it needs one. */
export function headerBytes(entry: TarEntry): Buffer {
  const records = paxRecords(entry)
  if (records.length === 0) return headerBlock(entry, flagOfType[entry.type])
  const body = Buffer.from(records.map(([key, value]) => paxRecord(key, value)).join(''), 'latin1')
  const pax: TarEntry = {
    ...entry,
    type: 'file',
    name: '././@PaxHeader',
    linkname: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: body.length,
    mtime: 0,
  }
  return Buffer.concat([
    headerBlock(pax, 'x'),
    body,
    Buffer.alloc(paddingOf(body.length)),
    headerBlock(entry, flagOfType[entry.type]),
  ])
}

function paxRecords(entry: TarEntry): (readonly [string, string])[] {
  const records = new Map<string, string>()
  if (entry.name.length > 100) records.set('path', entry.name)
  if (entry.linkname.length > 100) records.set('linkpath', entry.linkname)
  if (entry.size > biggestSize) records.set('size', String(entry.size))
  if (entry.uid > biggestId) records.set('uid', String(entry.uid))
  if (entry.gid > biggestId) records.set('gid', String(entry.gid))
  if (entry.mtime < 0 || entry.mtime > biggestSize) records.set('mtime', String(entry.mtime))
  for (const [key, value] of entry.xattrs) records.set(`${xattrPrefix}${key}`, value)
  return [...records].toSorted(([left], [right]) => (left < right ? -1 : 1))
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length
  while (String(length).length + rest.length !== length) {
    length = String(length).length + rest.length
  }
  return `${length}${rest}`
}

function headerBlock(entry: TarEntry, flag: string): Buffer {
  if (/\0/.test(entry.name + entry.linkname) || entry.name === '') {
    throw new KilnError('internal', 'a name that no tar can hold', { place: placeOf(entry.name) })
  }
  const block = Buffer.alloc(blockSize)
  block.write(entry.name.slice(0, 100), 0, 'latin1')
  octal(block, entry.mode, { at: 100, width: 8 })
  octal(block, fitting(entry.uid, biggestId), { at: 108, width: 8 })
  octal(block, fitting(entry.gid, biggestId), { at: 116, width: 8 })
  octal(block, fitting(entry.size, biggestSize), { at: 124, width: 12 })
  octal(block, fitting(entry.mtime, biggestSize), { at: 136, width: 12 })
  block.write(`        ${flag}`, 148, 'latin1')
  block.write(entry.linkname.slice(0, 100), 157, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  octal(block, entry.device.major, { at: 329, width: 8 })
  octal(block, entry.device.minor, { at: 337, width: 8 })
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** A value that its field cannot hold stands in the pax header; the field says 0. */
function fitting(value: number, biggest: number): number {
  return value >= 0 && value <= biggest ? value : 0
}

function octal(block: Buffer, value: number, field: { at: number; width: number }): void {
  const digits = value.toString(8).padStart(field.width - 1, '0')
  if (digits.length !== field.width - 1 || !/^[0-7]+$/.test(digits)) {
    throw new KilnError('internal', `a number that no tar header can hold: ${value}`)
  }
  block.write(digits, field.at, 'latin1')
}
