import { digestOfJson } from '../../signing/canonical.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { placeOf } from '../oci/entry-name.ts'
import type { AppEntry } from './monorepo.ts'
import { specificationFile } from './specification.ts'
import type { TreeEntry } from './tree.ts'

/** An app's part of a repository's tree. */
export type AppTree = {
  /** What its build sees, with paths as its context has them. */
  entries: readonly TreeEntry[]
  /** Names what decides its artifact beside the template: another one is a changed app. */
  content: Digest
}

/**
 * Takes an app's files out of a commit's tree: its folder, which becomes the top, and what it includes,
 * each at its place. Pure. Throws `invalid_yaml` for a folder or a filter that names nothing, and for an
 * included file whose place is taken.
 */
export function appTree(tree: readonly TreeEntry[], app: AppEntry): AppTree {
  const own = below(tree, app.path)
  if (own.length === 0) throw nothingAt(app.path, 'path')
  const included = app.include.flatMap(({ from, to }) => {
    const found = below(tree, from)
    if (found.length === 0) throw nothingAt(from, 'include')
    return found.map((entry) => ({ ...entry, path: `${to}/${entry.path}` }))
  })
  requireFree(own, included)
  const entries = [...own, ...included]
  const watched = app.changes.flatMap((pattern) => {
    const form = formOf(pattern)
    const found = tree.filter(({ path }) => form.test(path))
    if (found.length === 0) throw nothingAt(pattern, 'changes')
    return found
  })
  const content = digestOfJson({ version: 1, context: told(entries), changes: told(watched) })
  return { entries, content }
}

function below(tree: readonly TreeEntry[], folder: string): TreeEntry[] {
  const prefix = `${folder}/`
  return tree
    .filter(({ path }) => path.startsWith(prefix))
    .map((entry) => ({ ...entry, path: entry.path.slice(prefix.length) }))
}

function nothingAt(what: string, key: string): KilnError {
  return new KilnError('invalid_yaml', `the commit has nothing at ${what}`, {
    place: specificationFile,
    fix: `correct the app's ${key} in the kiln.yaml at the top, or remove it`,
  })
}

function requireFree(own: readonly TreeEntry[], included: readonly TreeEntry[]): void {
  const taken = new Set(own.map(({ path }) => path))
  const folders = new Set(own.flatMap(({ path }) => foldersOf(path)))
  const found = included.find(
    ({ path }) =>
      taken.has(path) || folders.has(path) || foldersOf(path).some((one) => taken.has(one)),
  )
  if (found === undefined) return
  throw new KilnError('invalid_yaml', 'an included file would take the place of one of the app', {
    place: placeOf(found.path),
    fix: 'include the folder at another place',
  })
}

function foldersOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_part, at) => parts.slice(0, at + 1).join('/'))
}

/** Each entry once, in one order. */
function told(entries: readonly TreeEntry[]): readonly (readonly [string, string, string])[] {
  const byPath = new Map(entries.map((entry) => [entry.path, entry]))
  return [...byPath.values()]
    .toSorted((a, b) => (a.path < b.path ? -1 : 1))
    .map(({ path, kind, object }) => [path, kind, object] as const)
}

/** A pattern names a file, a folder with all that is in it, or what its stars stand for. */
function formOf(pattern: string): RegExp {
  const parts = pattern.split('/').map((part, at, all) => {
    const last = at === all.length - 1
    if (part === '**') return last ? '.+' : '(?:[^/]+/)*'
    const name = part.replace(/[.+]/g, '\\$&').replace(/\*+/g, '[^/]*')
    return last ? `${name}(?:/.*)?` : `${name}/`
  })
  return new RegExp(`^${parts.join('')}$`, 's')
}
