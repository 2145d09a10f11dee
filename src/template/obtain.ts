import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import { withAptRoot } from './apt-root.ts'
import type { LockedPackage, LockedTool, LockedWheel } from './lock-file.ts'
import { downloadNpmPackage } from './npm-package.ts'
import { downloadWheel } from './pypi-package.ts'
import { takeFromSnapshot } from './snapshot.ts'
import type { TemplateRoom } from './template-room.ts'

/**
 * Brings the locked packages that the store lacks: from the mirror, else from a snapshot service. A
 * digest that differs is `lock_mismatch`; what nobody has any more is `input_unavailable`, with the
 * names and the command that locks anew.
 */
export async function obtainPackages(
  room: TemplateRoom,
  { name, packages, suite }: { name: string; packages: readonly LockedPackage[]; suite: string },
): Promise<void> {
  let missing = await missingFrom(room.store, packages)
  if (missing.length === 0) return
  room.onProgress(`${name}: ${missing.length} packages are not in the store; asking the mirror`)
  missing = await fromMirror(room, suite, missing)
  missing = await fromSnapshot(room, missing)
  requireAll(
    name,
    missing.map((locked) => `${locked.name} ${locked.version}`),
  )
}

type Tools = {
  name: string
  tools: readonly LockedTool[]
  wheels: readonly LockedWheel[]
}

/** As `obtainPackages`, from the npm registry and from Python's index. */
export async function obtainTools(
  room: TemplateRoom,
  { name, tools, wheels }: Tools,
): Promise<void> {
  for (const locked of await missingFrom(room.store, tools)) {
    const tool = `${locked.npm}@${locked.version}`
    await obtainTool(room, { name, tool, locked, from: 'npm registry' }, () =>
      downloadNpmPackage(room, locked),
    )
  }
  for (const locked of await missingFrom(room.store, wheels)) {
    const tool = `${locked.pypi}==${locked.version}`
    await obtainTool(room, { name, tool, locked, from: 'index' }, () => downloadWheel(room, locked))
  }
}

async function obtainTool(
  room: TemplateRoom,
  what: { name: string; tool: string; locked: { sha256: Digest }; from: string },
  download: () => Promise<{ sha256: Digest }>,
): Promise<void> {
  const { name, tool, locked, from } = what
  room.onProgress(`${name}: ${tool} is not in the store; asking the ${from}`)
  const found = await download().catch((error: unknown) => {
    if (error instanceof KilnError && error.code === 'input_unavailable') return undefined
    throw error
  })
  if (found === undefined) requireAll(name, [tool])
  else if (found.sha256 !== locked.sha256) {
    throw new KilnError(
      'lock_mismatch',
      `${name}: tool ${tool} is not what the lock says: locked ${locked.sha256}, found ${found.sha256}`,
      { place: 'template.lock', fix: `kiln template lock ${name}` },
    )
  }
}

export async function missingFrom<L extends LockedPackage | LockedTool | LockedWheel>(
  store: BlobStore,
  locked: readonly L[],
): Promise<L[]> {
  const sizes = await Promise.all(locked.map(({ sha256 }) => store.size(blobKey(sha256))))
  return locked.filter(({ size }, index) => sizes[index] !== size)
}

async function fromMirror(
  room: TemplateRoom,
  suite: string,
  missing: readonly LockedPackage[],
): Promise<LockedPackage[]> {
  const { aptSources, ...rest } = room
  try {
    return await withAptRoot({ ...rest, sources: aptSources, suite }, async (apt) => {
      const left: LockedPackage[] = []
      for (const locked of missing) if (!(await apt.downloadExactly(locked))) left.push(locked)
      return left
    })
  } catch (error) {
    // A mirror that cannot be asked is one that has nothing; the snapshot service may.
    if (error instanceof KilnError && error.code !== 'lock_mismatch') {
      room.onProgress(`the mirror gave nothing: ${error.message}`)
      return [...missing]
    }
    throw error
  }
}

async function fromSnapshot(
  { onProgress, snapshot, store }: TemplateRoom,
  missing: readonly LockedPackage[],
): Promise<LockedPackage[]> {
  if (snapshot === null || missing.length === 0) return [...missing]
  onProgress(`asking the snapshot service for ${missing.length} packages`)
  const left: LockedPackage[] = []
  for (const locked of missing) {
    if (!(await takeFromSnapshot({ address: snapshot, store }, locked))) left.push(locked)
  }
  return left
}

function requireAll(name: string, missing: readonly string[]): void {
  if (missing.length === 0) return
  throw new KilnError(
    'input_unavailable',
    `${name}: the store, the mirror and the snapshot service lack ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ` and ${missing.length - 3} more` : ''}`,
    { place: 'template.lock', fix: `kiln template lock ${name}`, lines: missing },
  )
}
