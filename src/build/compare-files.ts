import type { FileRecord } from '../oci/files-manifest.ts'

/** One path at which two root file systems differ. */
export type FileDifference = {
  path: string
  kind: 'only-recorded' | 'only-rebuilt' | 'differs'
  /** Which facts differ, by the manifest's names. */
  facts: readonly string[]
}

const facts = ['type', 'mode', 'owner', 'size', 'digest', 'target', 'device', 'link'] as const

/** What differs between two per-file manifests, in the order of their paths. Pure. */
export function compareFiles(
  recorded: readonly FileRecord[],
  rebuilt: readonly FileRecord[],
): readonly FileDifference[] {
  const before = new Map(recorded.map((record) => [record.path, record]))
  const after = new Map(rebuilt.map((record) => [record.path, record]))
  const paths = [...new Set([...before.keys(), ...after.keys()])].toSorted()
  return paths.flatMap((path) => differenceAt(path, before.get(path), after.get(path)) ?? [])
}

function differenceAt(
  path: string,
  left: FileRecord | undefined,
  right: FileRecord | undefined,
): FileDifference | undefined {
  if (right === undefined) return { path, kind: 'only-recorded', facts: [] }
  if (left === undefined) return { path, kind: 'only-rebuilt', facts: [] }
  const differing: string[] = facts.filter((fact) => left[fact] !== right[fact])
  if (xattrText(left) !== xattrText(right)) differing.push('xattrs')
  return differing.length === 0 ? undefined : { path, kind: 'differs', facts: differing }
}

function xattrText({ xattrs = {} }: FileRecord): string {
  return JSON.stringify(Object.entries(xattrs).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** A line for people: `app/stamp: digest`. */
export function describeDifference({ path, kind, facts: differing }: FileDifference): string {
  switch (kind) {
    case 'only-recorded':
      return `${path}: missing in the rebuilt artifact`
    case 'only-rebuilt':
      return `${path}: only in the rebuilt artifact`
    case 'differs':
      return `${path}: ${differing.join(', ')}`
  }
}
