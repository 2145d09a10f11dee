import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { guardDisk, roomFor } from '../../src/main/disk-guard.ts'
import { beyondBounds, entriesOf, removeEntries } from '../../src/store/bounded-folder.ts'
import { freeBytes, inWords, lowDisk } from '../../src/store/free-space.ts'

const run = promisify(execFile)
const mebibyte = 1024 ** 2
let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-space-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('on a small disk of its own', () => {
  let disk: string

  beforeEach(async () => {
    disk = join(folder, 'disk')
    await mkdir(disk)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'kiln-test', disk])
  })
  afterEach(() => run('umount', [disk]))

  test('less than the bound is refused before work begins, and says how much is missing', async () => {
    let begun = 0
    const activities = {
      begin: async (word: string) => `${word} ${++begun}`,
      end: async () => 'ended',
    }
    const room = roomFor({ home: disk }, { docker: null, minimum: 5 * mebibyte })
    const guarded = guardDisk(activities, ['begin'], room)
    expect(await guarded.begin('work')).toBe('work 1')
    await writeFile(join(disk, 'big'), Buffer.alloc(4 * mebibyte))
    const error = await guarded.begin('work').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'low_disk',
      place: disk,
      retryable: false,
      message: `4 MiB are free at ${disk}, 1 MiB less than the 5 MiB that work begins with`,
      fix: expect.stringContaining('free 1 MiB: kiln prune'),
    })
    expect(begun).toBe(1)
    // What was begun may always be ended.
    expect(await guarded.end()).toBe('ended')
    await rm(join(disk, 'big'))
    expect(await guarded.begin('work')).toBe('work 2')
  })

  test('each of several disks counts, and a folder that is not there yet is on its parent’s', async () => {
    const there = join(disk, 'not', 'made')
    expect(await freeBytes(there)).toBe(await freeBytes(disk))
    expect(await lowDisk([folder, there], 7 * mebibyte)).toBeUndefined()
    expect(await lowDisk([folder, there], 9 * mebibyte)).toMatchObject({ place: there })
  })
})

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1 KiB'],
  [1025, '1.1 KiB'],
  [2 * 1024 ** 3, '2 GiB'],
])('%s bytes are %s, rounded up', (bytes, words) => {
  expect(inWords(bytes)).toBe(words)
})

describe('a bounded folder', () => {
  const hour = 3_600_000
  const now = 1_000 * hour
  const at = (path: string, ageHours: number, bytes = 10) => ({
    path,
    bytes,
    usedAt: now - ageHours * hour,
  })
  const bounds = { maxAgeMs: 100 * hour, maxBytes: 25, youngMs: hour }
  const gone = (entries: Parameters<typeof beyondBounds>[0]) =>
    beyondBounds(entries, bounds, now).map((one) => one.path)

  test('loses what is too old, then the oldest until the rest fits', () => {
    expect(gone([at('a', 2), at('b', 200), at('c', 3), at('d', 4)])).toEqual(['b', 'd'])
    expect(gone([at('a', 2), at('b', 3)])).toEqual([])
    expect(gone([])).toEqual([])
  })

  test('never loses what is in use, whatever its size', () => {
    expect(gone([at('a', 0.5, 1000), at('b', 0.2, 1000)])).toEqual([])
    expect(gone([at('a', 0.5, 1000), at('b', 2)])).toEqual(['b'])
  })

  test('on disk: a folder in it counts as one, by its newest file', async () => {
    await mkdir(join(folder, 'mirror'))
    await writeFile(join(folder, 'mirror', 'old'), 'x'.repeat(100))
    await writeFile(join(folder, 'mirror', 'new'), 'x'.repeat(20))
    await writeFile(join(folder, 'log'), 'x'.repeat(7))
    for (const name of ['mirror/old', 'log']) await utimes(join(folder, name), 1000, 1000)
    const entries = (await entriesOf(folder)).toSorted((a, b) => a.bytes - b.bytes)
    expect(entries.map(({ path, bytes }) => ({ path, bytes }))).toEqual([
      { path: join(folder, 'log'), bytes: 7 },
      { path: join(folder, 'mirror'), bytes: 120 },
    ])
    const old = beyondBounds(entries, { ...bounds, maxBytes: 1000 }, Date.now())
    expect(old.map((one) => one.path)).toEqual([join(folder, 'log')])
    await removeEntries(old)
    expect(await readdir(folder)).toEqual(['mirror'])
    expect(await entriesOf(join(folder, 'nothing'))).toEqual([])
  })
})
