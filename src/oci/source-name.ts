import { KilnError } from '../domain/error.ts'
import type { ByteName } from './entry-name.ts'
import { decodeName, placeOf } from './entry-name.ts'

/** Throws `invalid_archive` with the entry as its place. */
export function refuseEntry(name: ByteName, why: string, fix?: string): never {
  throw new KilnError('invalid_archive', `the archive is refused: ${why}`, {
    place: placeOf(name),
    ...(fix === undefined ? {} : { fix }),
  })
}

/** Folders above a file, and a link's way. */
export const deepest = 100
const longestName = 1024
const longestPart = 255

/**
 * The path below the tree's root that an entry of a source tar names, '' for the root itself. One way to
 * write it only (but for a leading `./` and a folder's `/` at the end): UTF-8, `/`-separated, no empty,
 * `.` or `..` parts, no backslash, no control characters, no `.wh.` names, which an image layer would
 * take for a deletion. Throws `invalid_archive`.
 */
export function sourcePath(name: ByteName, isFolder: boolean): string {
  const text = decodeName(name) ?? refuseEntry(name, 'a name that is not UTF-8')
  const withoutDot = text.startsWith('./') ? text.slice(2) : text
  const path = isFolder && withoutDot.endsWith('/') ? withoutDot.slice(0, -1) : withoutDot
  if (isFolder && (path === '' || path === '.') && text.startsWith('.')) return ''
  const fault =
    nameFault(path) ??
    path
      .split('/')
      .map(partFault)
      .find((one) => one !== undefined)
  return fault === undefined ? path : refuseEntry(name, fault)
}

function nameFault(path: string): string | undefined {
  if (path.startsWith('/')) return 'an absolute name'
  if (path.includes('\\')) return 'a name with a backslash'
  if (/\p{Cc}/u.test(path)) return 'a name with a control character'
  if (path.length > longestName) return `a name above ${longestName} characters`
  if (path.split('/').length > deepest) return `more than ${deepest} folders deep`
  return undefined
}

function partFault(part: string): string | undefined {
  if (part === '..') return 'a name that leads out of the tree'
  if (part === '' || part === '.') return 'a name written in a roundabout way'
  if (part.startsWith('.wh.')) return 'a name that an image layer takes for a deletion'
  if (Buffer.byteLength(part) > longestPart) return `a name above ${longestPart} bytes`
  return undefined
}
