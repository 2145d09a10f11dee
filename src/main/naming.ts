import type { Naming } from '../runtime/label.ts'

/** What Kiln's containers and networks are called in an engine, which two hosts may share. */
export function namingOf(host: string): Naming {
  return { host, prefix: host === 'local' ? 'kiln' : `kiln-${host}` }
}

/** Under which name an engine knows the guard of a host. */
export function guardName(host: string): string {
  return namingOf(host).prefix
}
