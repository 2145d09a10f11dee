import type { ByteName } from '../oci/entry-name.ts'

/** What one file of an image says of the software inside. */
export type FileFact =
  | { kind: 'dpkg'; text: string }
  | { kind: 'os'; text: string }
  | { kind: 'npm'; folder: string; text: string }
  | { kind: 'node'; version: string | null }

export type FactKind = FileFact['kind']

/** Facts by the path of the file in the image. */
export type Facts = ReadonlyMap<ByteName, FileFact>

const npmForm = /(?:^|\/)node_modules\/((?:@[^/.][^/]*\/)?[^/.@][^/]*)\/package\.json$/
const nodeForm = /(?:^|\/)bin\/node$/

/** Which kind of fact a file holds, by its path; undefined for nearly all files. */
export function factKindOf(path: ByteName): FactKind | undefined {
  if (path === 'var/lib/dpkg/status') return 'dpkg'
  if (path === 'usr/lib/os-release') return 'os'
  if (npmForm.test(path)) return 'npm'
  return nodeForm.test(path) ? 'node' : undefined
}

/** The package's own folder below its node_modules: `ms`, `@scope/name`. */
export function packageFolder(path: ByteName): string {
  return npmForm.exec(path)?.[1] ?? ''
}

/** Larger files than these are not what they seem to be, in bytes. */
export const maxFactBytes = {
  dpkg: 64 * 1024 * 1024,
  os: 64 * 1024,
  npm: 1024 * 1024,
} as const satisfies Partial<Record<FactKind, number>>
