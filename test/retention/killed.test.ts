import { execa } from 'execa'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { seal } from '../../scripts/state/artifacts.ts'
import { promotion, succeed } from '../../scripts/state/changes.ts'
import { openRooms, type Rooms } from '../../scripts/state/rooms.ts'
import { readTrust } from '../../signing/trust-files.ts'
import { hexOf, type Digest } from '../../src/domain/digest.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { pathsOf } from '../../src/main/paths.ts'
import { mediaTypes } from '../../src/oci/image.ts'
import { manifestMarker } from '../../src/registry/catalog.ts'
import { attachReferrer } from '../../src/registry/publish.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { collectIn } from './collect-in.ts'

/**
 * Processes that collect in a real home, its log signed and whole, and are killed by SIGKILL. Three artifacts
 * served in dev one after the other: the last one does, and would return to the one before.
 */

let folder: string
let original: string
let made: readonly Digest[]
/** A collection that nobody killed, and what it left. */
let whole: string
let wanted: readonly string[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-killed-'))
  original = join(folder, 'home')
  const rooms = await openRooms({ home: original, release: '0.0.0' })
  const artifacts: Digest[] = []
  for (const name of ['a', 'b', 'c']) {
    const digest = await seal(rooms, name)
    await publish(rooms, digest)
    await succeed(rooms, 'hello/dev', promotion(digest))
    artifacts.push(digest)
  }
  made = artifacts
  whole = join(folder, 'whole')
  await cp(original, whole, { recursive: true })
  await collectIn(whole)
  wanted = await keysIn(whole)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** As the registry has it; scripts/state/artifacts.ts makes images that nobody pulls. */
async function publish({ store }: Rooms, digest: Digest): Promise<void> {
  await store.put(manifestMarker('hello', digest), Buffer.from(`${digest}\n`))
  await attachReferrer(store, {
    repository: 'hello',
    subject: { mediaType: mediaTypes.manifest, digest, size: 1 },
    artifactType: 'text/plain',
    mediaType: 'text/plain',
    content: Buffer.from(`said of ${digest}`),
  })
}

/** All keys of a home's store but those of its lock and its writers. */
async function keysIn(home: string): Promise<string[]> {
  const store = openFolderStore({ root: pathsOf(home).store })
  const keys: string[] = []
  for (const prefix of [
    'blobs/',
    'repositories/',
    'referrers/',
    'collected/',
    'gc/',
    'tile/',
    'bundles/',
  ])
    for await (const key of store.list(prefix)) keys.push(key)
  return keys.toSorted()
}

async function problemsOf(home: string) {
  const { store, trust } = pathsOf(home)
  return fsck({
    store: openFolderStore({ root: store }),
    head: openFolderHead({ root: store }),
    trust: await readTrust(trust),
  })
}

function killedAt(home: string, point: string, times: number) {
  const script = resolve(import.meta.dirname, 'collect-process.ts')
  return execa(process.execPath, [script, home, point, `${times}`], { reject: false })
}

test('killed at each point, one run after the other: nothing leased is lost, fsck is clean, and the last run ends the same', async () => {
  const home = join(folder, 'killed')
  await cp(original, home, { recursive: true })
  const before = await keysIn(home)
  for (const [point, times] of [
    ['collection.noted', 1],
    ['collection.announced', 1],
    ['collection.removed', 4],
    ['collection.taken-back', 1],
  ] as const) {
    expect(await killedAt(home, point, times)).toMatchObject({ signal: 'SIGKILL' })
    const after = await keysIn(home)
    // Only what goes in the end is gone: nothing leased, and nothing of the log.
    expect(wanted.filter((key) => before.includes(key) && !after.includes(key))).toEqual([])
    expect(await problemsOf(home)).toMatchObject({ problems: [] })
  }
  await collectIn(home)
  expect(await keysIn(home)).toEqual(wanted)
  expect(await problemsOf(home)).toMatchObject({ problems: [] })
})

test('what a collection takes away is what nothing returns to, and the rest is whole', async () => {
  const there = made.map((digest) => wanted.includes(manifestMarker('hello', digest)))
  expect(there).toEqual([false, true, true])
  const noted = made.map((digest) => wanted.includes(`collected/${hexOf(digest)}`))
  expect(noted).toEqual([true, false, false])
  expect(await problemsOf(whole)).toMatchObject({ problems: [] })
  for (const digest of made.slice(1)) expect(wanted).toContain(blobKey(digest))
  for (const digest of made.slice(0, 1)) expect(wanted).not.toContain(blobKey(digest))
})
