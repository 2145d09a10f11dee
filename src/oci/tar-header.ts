import type { TarEntry, TarType } from './tar-entry.ts'
import { noXattrs } from './tar-entry.ts'

/** Why a header is refused; the reader adds the place. */
export class TarFault extends Error {
  override readonly name = 'TarFault'
}

/** A header block as it stands, before extensions are applied. */
export type TarHeader = { flag: string; entry: TarEntry }

const typeOfFlag: Readonly<Record<string, TarType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
}

/** The flags that announce or extend another entry. */
export const extensionFlags = { pax: 'x', globalPax: 'g', longName: 'L', longLink: 'K' } as const
const extensions: ReadonlySet<string> = new Set(Object.values(extensionFlags))

/** Reads one 512-byte block that is not all zeros: ustar or GNU. Throws a TarFault. */
export function parseHeader(block: Buffer): TarHeader {
  checkSum(block)
  const text = block.toString('latin1')
  const magic = text.slice(257, 265)
  const ustar = magic === 'ustar\x0000'
  if (!ustar && magic !== 'ustar  \0') throw new TarFault('a header that is neither ustar nor GNU')
  const flag = text.charAt(156)
  const type = extensions.has(flag) ? 'file' : typeOfFlag[flag]
  if (type === undefined) throw new TarFault(`entries of type ${JSON.stringify(flag)} are refused`)
  const prefix = ustar ? textField(text.slice(345, 500)) : ''
  const name = textField(text.slice(0, 100))
  return {
    flag,
    entry: {
      type,
      name: prefix === '' ? name : `${prefix}/${name}`,
      linkname: textField(text.slice(157, 257)),
      mode: numberField(block, 100, 108) & 0o7777,
      uid: numberField(block, 108, 116),
      gid: numberField(block, 116, 124),
      size: numberField(block, 124, 136),
      mtime: signedField(block, 136, 148),
      device: { major: numberField(block, 329, 337), minor: numberField(block, 337, 345) },
      xattrs: noXattrs,
    },
  }
}

function checkSum(block: Buffer): void {
  let sum = 8 * 0x20
  for (let at = 0; at < 512; at++) if (at < 148 || at >= 156) sum += block[at] ?? 0
  if (numberField(block, 148, 156) !== sum) throw new TarFault('a header with a wrong checksum')
}

/** Bytes to the first NUL; what follows must be NULs too, because others would read it differently. */
function textField(field: string): string {
  const end = field.indexOf('\0')
  if (end === -1) return field
  if (/[^\0]/.test(field.slice(end))) throw new TarFault('a name with a NUL in it')
  return field.slice(0, end)
}

function numberField(block: Buffer, start: number, end: number): number {
  const value = signedField(block, start, end)
  if (value < 0) throw new TarFault('a negative number where none may be')
  return value
}

/** Octal digits, or base-256 (two's complement) where the first bit is set. */
function signedField(block: Buffer, start: number, end: number): number {
  const first = block[start] ?? 0
  if (first >= 0x80) return base256(block.subarray(start, end))
  const text = block.toString('latin1', start, end)
  const digits = /^ *([0-7]*)[ \0]*$/.exec(text)?.[1]
  if (digits === undefined) throw new TarFault(`a number that is none: ${JSON.stringify(text)}`)
  return digits === '' ? 0 : safe(parseInt(digits, 8))
}

function base256(bytes: Buffer): number {
  const first = bytes[0] ?? 0
  // The topmost bit is only the mark; the next one is the sign.
  let value = BigInt((first & 0x7f) - ((first & 0x40) === 0 ? 0 : 0x80))
  for (const byte of bytes.subarray(1)) value = value * 256n + BigInt(byte)
  return safe(Number(value))
}

function safe(value: number): number {
  if (!Number.isSafeInteger(value)) throw new TarFault('a number that is too big')
  return value
}
