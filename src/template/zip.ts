import { inflateRawSync } from 'node:zlib'

const endMark = 0x06054b50
const entryMark = 0x02014b50
const localMark = 0x04034b50

/** Content is held in memory: what an entry says may be a lie of 4 GB. */
const mostBytes = 512 * 1024 ** 2

/**
 * One file's content out of a zip archive that is held in memory; undefined when there is no such file.
 * Only what wheels are made of is read: stored or deflated entries, no encryption, no zip64. Throws
 * `TypeError` for everything else, and for content longer than its entry says.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
export function readZipFile(zip: Buffer, name: string): Buffer | undefined {
  const { count, offset } = findDirectory(zip)
  let at = offset
  for (let index = 0; index < count; index += 1) {
    if (zip.readUInt32LE(at) !== entryMark) throw new TypeError('its directory is broken')
    const nameLength = zip.readUInt16LE(at + 28)
    if (zip.toString('utf8', at + 46, at + 46 + nameLength) === name) return contentOf(zip, at)
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32)
  }
  return undefined
}

/** The end record stands last, before a comment of at most 65,535 bytes. */
function findDirectory(zip: Buffer): { count: number; offset: number } {
  for (let at = zip.length - 22; at >= Math.max(0, zip.length - 22 - 0xffff); at -= 1) {
    if (zip.readUInt32LE(at) !== endMark) continue
    const count = zip.readUInt16LE(at + 10)
    const offset = zip.readUInt32LE(at + 16)
    if (count === 0xffff || offset === 0xffffffff) throw new TypeError('it is a zip64 archive')
    return { count, offset }
  }
  throw new TypeError('it has no directory')
}

function contentOf(zip: Buffer, entry: number): Buffer {
  const flags = zip.readUInt16LE(entry + 8)
  const method = zip.readUInt16LE(entry + 10)
  const packed = zip.readUInt32LE(entry + 20)
  const size = zip.readUInt32LE(entry + 24)
  const local = zip.readUInt32LE(entry + 42)
  if ((flags & 1) !== 0) throw new TypeError('it is encrypted')
  if (size > mostBytes) throw new TypeError(`a file has more than ${mostBytes} bytes`)
  if (zip.readUInt32LE(local) !== localMark) throw new TypeError('its directory is broken')
  const begin = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28)
  const bytes = zip.subarray(begin, begin + packed)
  const content = method === 0 ? bytes : inflate(bytes, { method, size })
  if (content.length !== size) throw new TypeError('a file has not the length that it says')
  return content
}

function inflate(bytes: Buffer, { method, size }: { method: number; size: number }): Buffer {
  if (method !== 8) throw new TypeError(`it is packed by method ${method}`)
  try {
    return inflateRawSync(bytes, { maxOutputLength: Math.max(1, size) })
  } catch (cause) {
    throw new TypeError('a file cannot be unpacked', { cause })
  }
}
