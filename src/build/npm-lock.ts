import { z } from 'zod'
import { KilnError } from '../domain/error.ts'

const lockFile = z.object({
  lockfileVersion: z.number(),
  packages: z.record(z.string(), z.record(z.string(), z.unknown())),
})

type LockedPackage = z.infer<typeof lockFile>['packages'][string]

const lockName = 'package-lock.json'

/**
 * Checks that a package-lock.json pins all that npm will fetch: version 2 or later, and for each package
 * a SHA-512 and nothing but a registry's tarball. Throws `lock_mismatch` with the entry as its place.
 */
export function checkNpmLock(text: string): void {
  const { lockfileVersion, packages } = parseLock(text)
  if (lockfileVersion !== 2 && lockfileVersion !== 3) {
    throw new KilnError('lock_mismatch', `version ${lockfileVersion} pins too little`, {
      place: lockName,
      fix: 'npm install --package-lock-only --lockfile-version 3',
    })
  }
  for (const [path, entry] of Object.entries(packages)) {
    const fault = path === '' ? rootFault(entry) : packageFault(path, entry)
    if (fault === undefined) continue
    throw new KilnError('lock_mismatch', `${path || 'the package itself'} ${fault}`, {
      place: `${lockName} packages[${JSON.stringify(path)}]`,
    })
  }
}

function parseLock(text: string): z.infer<typeof lockFile> {
  try {
    return lockFile.parse(JSON.parse(text))
  } catch (cause) {
    throw new KilnError('lock_mismatch', 'not a lock file of npm', { place: lockName, cause })
  }
}

function rootFault(entry: LockedPackage): string | undefined {
  return entry['workspaces'] === undefined ? undefined : 'has workspaces, which are not fetched'
}

function packageFault(path: string, entry: LockedPackage): string | undefined {
  const { link, inBundle, integrity, resolved } = entry
  if (!/^node_modules\/[^.]/.test(path) || path.split('/').includes('..')) {
    return 'lies outside node_modules'
  }
  if (link === true) return 'is a link to a folder'
  if (resolved !== undefined && !isRegistryTarball(resolved)) {
    return `comes from ${JSON.stringify(resolved).slice(0, 200)}, which is no registry's tarball`
  }
  // It comes inside its parent's tarball, whose hash covers it.
  if (inBundle === true) return undefined
  return isStrong(integrity) ? undefined : 'has no SHA-512 integrity'
}

function isStrong(integrity: unknown): boolean {
  return typeof integrity === 'string' && /(^|\s)sha512-[A-Za-z0-9+/]{86}==(\s|$)/.test(integrity)
}

function isRegistryTarball(resolved: unknown): boolean {
  if (typeof resolved !== 'string' || !URL.canParse(resolved)) return false
  const url = new URL(resolved)
  const plain = url.username === '' && url.search === '' && url.hash === ''
  return plain && url.protocol === 'https:' && /\/-\/[^/]+\.tgz$/.test(url.pathname)
}
