import type { ByteName } from './entry-name.ts'

export const tarTypes = [
  'file',
  'link',
  'symlink',
  'character',
  'block',
  'directory',
  'fifo',
] as const
export type TarType = (typeof tarTypes)[number]

/** One entry of a tar, with all that an image layer may hold. Names are byte names: see entry-name.ts. */
export type TarEntry = {
  type: TarType
  /** As written: a directory's ends with `/`, a leading `./` stays. */
  name: ByteName
  /** Target of a symlink, or name of the entry that a hard link shares its content with; else empty. */
  linkname: ByteName
  /** Permission bits and setuid, setgid, sticky: 0 to 0o7777. */
  mode: number
  uid: number
  gid: number
  /** Bytes of content; 0 for all but files. */
  size: number
  /** Whole seconds since 1970, negative before. */
  mtime: number
  device: { major: number; minor: number }
  /** Extended attributes by name, values byte for byte as latin1. */
  xattrs: ReadonlyMap<string, string>
}

/** An entry and its content, which is read at once or skipped: asking for the next entry discards it. */
export type TarItem = { entry: TarEntry; body: AsyncIterable<Uint8Array> }

export const blockSize = 512

/** How many zero bytes follow content of `size` bytes. */
export function paddingOf(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize
}

export const noXattrs: ReadonlyMap<string, string> = new Map()
