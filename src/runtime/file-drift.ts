import type { FileRecord } from '../oci/files-manifest.ts'
import { escapeName, type ByteName } from '../oci/entry-name.ts'

/** One entry of a container's writable layer. Paths are relative, without a slash at either end. */
export type LayerEntry = { path: ByteName } & (
  | {
      type: 'file'
      size: number
      mode: string
      owner: string
      /** Null: too large to be read. */ digest: string | null
    }
  | { type: 'directory'; mode: string; owner: string }
  | { type: 'symlink' }
  /** What stands below is hidden: the path was removed. */
  | { type: 'whiteout' }
  | { type: 'other' }
  /** The engine says that it is there, and does not show it. */
  | { type: 'unread' }
)

export type FileDrift = {
  kind: 'added' | 'changed' | 'removed'
  path: string
  found: string
  expected: string
}

/**
 * What was done to an instance's files, from what its writable layer holds: an instance writes nothing
 * there, so everything is drift but the places that mounts need. `manifest` is the artifact's, by path.
 * Pure. A directory is named only when nothing in it is.
 */
export function fileDrifts(
  entries: readonly LayerEntry[],
  manifest: ReadonlyMap<string, FileRecord>,
  mounts: readonly string[],
): FileDrift[] {
  const places = mountPlaces(mounts)
  const own = entries.filter((entry) => !isMountPlace(entry, places))
  const busy = new Set(own.flatMap(({ path }) => parentsOf(path)))
  return own
    .filter(({ type, path }) => !(type === 'directory' && busy.has(path)))
    .map((entry) => driftOf(entry, manifest.get(escapeName(entry.path))))
}

function driftOf(entry: LayerEntry, record: FileRecord | undefined): FileDrift {
  const path = `/${escapeName(entry.path)}`
  const expected = record === undefined ? 'nothing' : recorded(record)
  if (entry.type === 'whiteout') return { kind: 'removed', path, found: 'nothing', expected }
  const kind = record === undefined ? 'added' : 'changed'
  return { kind, path, found: seen(entry), expected }
}

function seen(entry: Exclude<LayerEntry, { type: 'whiteout' }>): string {
  switch (entry.type) {
    case 'file': {
      const content = entry.digest ?? `a file of ${entry.size} bytes, not read`
      return `${content} (${entry.mode} ${entry.owner})`
    }
    case 'directory':
      return `a directory (${entry.mode} ${entry.owner})`
    case 'symlink':
      return 'a symbolic link'
    case 'other':
      return 'a special file'
    case 'unread':
      return 'something that the engine does not show'
  }
}

function recorded({ type, digest, mode, owner }: FileRecord): string {
  return `${digest ?? `a ${type}`} (${mode} ${owner})`
}

/** Each mount's own place, and the directories above it. */
function mountPlaces(mounts: readonly string[]): { own: Set<string>; above: Set<string> } {
  const own = mounts.map((path) => path.replace(/^\/+|\/+$/g, ''))
  return { own: new Set(own), above: new Set(own.flatMap(parentsOf)) }
}

/** The engine makes an empty directory or file where something is mounted. */
function isMountPlace(
  entry: LayerEntry,
  { own, above }: { own: Set<string>; above: Set<string> },
): boolean {
  if (entry.type === 'directory' || entry.type === 'unread')
    return own.has(entry.path) || above.has(entry.path)
  return entry.type === 'file' && entry.size === 0 && own.has(entry.path)
}

function parentsOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, at) => parts.slice(0, at + 1).join('/'))
}

/** How many are named; of the others only their number is told. */
const named = 10

/** One line for the record: paths, kinds and digests, never content. */
export function describeFiles(drifts: readonly FileDrift[]): string {
  const lines = drifts.slice(0, named).map(({ kind, path, found, expected }) => {
    const short = path.length > 200 ? `${path.slice(0, 200)}…` : path
    return `${kind} ${short}: ${found}, not ${expected}`
  })
  const rest = drifts.length - lines.length
  return [...lines, ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ')
}
