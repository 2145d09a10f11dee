import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openKeys } from '../../signing/keys.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { demandSpace } from '../../src/main/backup/copy.ts'
import { demandRestored } from '../../src/main/backup/demand-restored.ts'
import { readSettings } from '../../src/main/backup/settings.ts'
import { backedUp, leftOut } from '../../src/main/backup/snapshot.ts'
import { openObjectStore } from '../../src/main/object-store.ts'
import type { AgingStore, BlobStore } from '../../src/store/blob-store.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { example } from '../signing/examples.ts'
import {
  content,
  filesIn,
  homeAtHand,
  ledgerAt,
  passphrase,
  problemsAt,
  restored,
  scratch,
  settings,
} from './backup-at-hand.ts'

test('a restored home has the same log, the same keys and ports, and its log goes on', async () => {
  const { paths, input, ledger, backup } = await homeAtHand()
  expect(await backup()).toMatchObject({ entries: 3, keys: 'encrypted' })
  const { paths: copy, run } = restored(input.folder)
  await run()
  expect(await problemsAt(copy)).toMatchObject({ entries: 3, problems: [] })
  for (const name of ['log.pem', 'promote.pem', 'record.pem', 'deny.pem'])
    expect(readFileSync(join(copy.keys, name))).toEqual(readFileSync(join(paths.keys, name)))
  await openKeys(copy.keys, input.trust.origin)
  expect(filesIn(copy.trust)).toContain('trusted_root.json')
  const state = JSON.parse(readFileSync(join(copy.edge, 'state.json'), 'utf8')) as unknown
  expect(state).toMatchObject({ environments: [{ environment: 'hello/prod', port: 7412 }] })
  expect(await readSettings(copy)).toEqual(settings)
  const next = await ledgerAt(copy)
  await next.complete()
  await next.decide({ id: 'after', signable: example('refusal', 2) })
  expect(next.facts().slice(0, 3)).toEqual(ledger.facts())
  expect(() => demandRestored(copy)).not.toThrow()
})

test('a log that grows while it is copied is copied as it was when the backup began', async () => {
  const { input, ledger, store, backup } = await homeAtHand()
  let grown = false
  const growing: BlobStore = {
    ...store,
    async *list(prefix) {
      if (!grown) {
        grown = true
        for (let n = 10; n < 30; n += 1)
          await ledger.decide({ id: `${n}`, signable: example('refusal', n) })
      }
      yield* store.list(prefix)
    },
  }
  expect(await backup({ store: growing })).toMatchObject({ entries: 3 })
  const { paths: copy, run } = restored(input.folder)
  await run()
  expect(await problemsAt(copy)).toMatchObject({ entries: 3, problems: [] })
}, 60_000)

test('44 a listing that lacks what an artifact needs makes no backup, and leaves the one before it', async () => {
  const { input, store, ledger, backup } = await homeAtHand()
  await backup({ keys: null })
  await ledger.decide({ id: 'more', signable: example('refusal', 7) })
  const newest = [...filesIn(input.folder)].find((name) => name.includes('blobs/sha256/')) ?? ''
  const stale: BlobStore = {
    ...store,
    async *list(prefix) {
      for await (const key of store.list(prefix)) if (!newest.endsWith(key)) yield key
    },
  }
  await expect(backup({ store: stale, keys: null })).rejects.toMatchObject({
    code: 'ledger_corrupt',
  })
  const { record } = await restored(input.folder, { passphrase: null }).run()
  expect(record.checkpoint.size).toBe(3)
})

test('without a passphrase worth its name nothing is written', async () => {
  const { input, backup } = await homeAtHand()
  const keys = { folder: input.keys?.folder ?? '', passphrase: 'short' }
  await expect(backup({ keys })).rejects.toMatchObject({ code: 'invalid_input' })
  expect(filesIn(input.folder)).not.toContain('backup.json')
})

test('the keys open with their passphrase alone, and only as they were written', async () => {
  const { input, backup } = await homeAtHand()
  await backup()
  const wrong = restored(input.folder, { passphrase: 'correct horse battery stable' })
  await expect(wrong.run()).rejects.toMatchObject({ code: 'verification_failed' })
  expect(() => readdirSync(wrong.paths.home)).toThrow('ENOENT')
})

test('the keys of a backup cost whoever guesses 128 MiB and half a second each, and open', async () => {
  const { input, paths, backup } = await homeAtHand()
  await backup({ keys: { folder: paths.keys, passphrase } })
  const name = filesIn(input.folder).find((file) => file.startsWith('keys-')) ?? ''
  const { kdf } = JSON.parse(readFileSync(join(input.folder, name), 'utf8')) as { kdf: object }
  expect(kdf).toMatchObject({ name: 'scrypt', N: 131_072, r: 8 })
  await restored(input.folder).run()
})

test('a backup without keys says so, and restores what can be read', async () => {
  const { input, backup } = await homeAtHand()
  expect(await backup({ keys: null })).toMatchObject({ keys: 'left out' })
  await expect(restored(input.folder).run()).rejects.toMatchObject({ code: 'not_found' })
  const { paths: copy, run } = restored(input.folder, { passphrase: null })
  await run()
  const head = openFolderHead({ root: copy.store })
  const store = openFolderStore({ root: copy.store })
  expect(await fsck({ store, head, trust: input.trust })).toMatchObject({ problems: [] })
  expect(readdirSync(copy.home)).not.toContain('keys')
})

/** One backup for all tests that only spoil a copy of it. */
let good: string

beforeAll(async () => {
  good = mkdtempSync(join(tmpdir(), 'kiln-backup-one-'))
  const { backup } = await homeAtHand()
  await backup({ folder: good })
})
afterAll(() => rmSync(good, { recursive: true, force: true }))

function copyOfOne(): string {
  const folder = join(scratch(), 'backup')
  cpSync(good, folder, { recursive: true })
  return folder
}

const parts = {
  'a blob': /^store\/blobs\//,
  'a tile': /^store\/tile\/0\//,
  'a tile of entries': /^store\/tile\/entries\//,
  'a bundle': /^store\/bundles\/leaf\//,
  'a published bundle': /^store\/bundles\/published\//,
  'what belongs to a repository': /^store\/repositories\//,
  'the list of objects': /^objects-/,
  'the trust root': /^trust-/,
  'the keys': /^keys-/,
  'the addresses': /^addresses-/,
  'the settings': /^settings-/,
}

function flip(path: string): void {
  const bytes = readFileSync(path)
  const at = Math.floor(bytes.length / 2)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  writeFileSync(path, bytes)
}

test.each(
  Object.entries(parts).flatMap(([what, form]) =>
    [
      { how: 'changed', harm: flip },
      { how: 'missing', harm: (path: string) => rmSync(path) },
      { how: 'cut short', harm: (path: string) => writeFileSync(path, '') },
    ].map((one) => ({ what, form, ...one })),
  ),
)('$what of the backup is $how: it is named, and nothing is restored', async ({ form, harm }) => {
  const folder = copyOfOne()
  const name = filesIn(folder).find((file) => form.test(file)) ?? ''
  harm(join(folder, name))
  const { paths, run } = restored(folder)
  const error = await run().catch((caught: unknown) => caught)
  expect(error).toMatchObject({ code: 'digest_mismatch' })
  const { message, place, lines } = error as { message: string; place: string; lines: string[] }
  expect([message, place, ...lines].join('\n')).toContain(name)
  expect(() => readdirSync(paths.home)).toThrow('ENOENT')
})

test.each(['', 'not JSON', '{"version":1}', '{"version":2}', '{"version":3}'])(
  'backup.json with %j in it is refused',
  async (text) => {
    const folder = copyOfOne()
    writeFileSync(join(folder, 'backup.json'), text)
    await expect(restored(folder).run()).rejects.toMatchObject({
      place: expect.stringContaining('backup.json') as string,
    })
  },
)

test('a backup of before the settings were in it is restored without them', async () => {
  const folder = copyOfOne()
  const path = join(folder, 'backup.json')
  const { settings: _, ...others } = JSON.parse(readFileSync(path, 'utf8')) as { settings: object }
  writeFileSync(path, JSON.stringify({ ...others, version: 1 }))
  const { paths, run } = restored(folder)
  await run()
  expect(await readSettings(paths)).toEqual({ watches: [], repositories: [] })
  expect(filesIn(paths.home)).not.toContain('watches.json')
})

test('a backup in which the log is not whole is refused, though every file is as it was copied', async () => {
  const { input, backup } = await homeAtHand()
  await backup()
  const { folder } = input
  const record = JSON.parse(readFileSync(join(folder, 'backup.json'), 'utf8')) as {
    objects: { path: string; sha256: string; count: number }
  }
  const { createHash } = await import('node:crypto')
  const lines = readFileSync(join(folder, record.objects.path), 'utf8').split('\n')
  const fewer = lines.filter((line) => !line.includes('bundles/leaf/')).join('\n')
  writeFileSync(join(folder, record.objects.path), fewer)
  record.objects.sha256 = createHash('sha256').update(fewer).digest('hex')
  record.objects.count = fewer.split('\n').length - 1
  writeFileSync(join(folder, 'backup.json'), JSON.stringify(record))
  await expect(restored(folder).run()).rejects.toMatchObject({ code: 'ledger_corrupt' })
})

test.each([1, 5, 9])(
  'a backup interrupted after %i objects is no backup, and the next one goes on',
  async (limit) => {
    const { input, store, backup } = await homeAtHand()
    let read = 0
    const count = (): void => {
      read += 1
      if (read > limit) throw new Error('the power is gone')
    }
    const dying: BlobStore = {
      ...store,
      readBlob: (digest) => (count(), store.readBlob(digest)),
      get: (key) => (key.startsWith('bundles/') && count(), store.get(key)),
    }
    await expect(backup({ store: dying })).rejects.toThrow('the power is gone')
    await expect(restored(input.folder).run()).rejects.toMatchObject({ code: 'not_found' })
    const before = filesIn(input.folder).filter((one) => one.includes('blobs/')).length
    const { objects, copied } = await backup()
    expect(copied).toBeLessThanOrEqual(objects - before)
    await restored(input.folder).run()
  },
)

test('an interrupted second backup leaves the first one as it was', async () => {
  const { input, ledger, store, backup } = await homeAtHand()
  await backup()
  await ledger.decide({ id: 'more', signable: example('refusal', 7) })
  await store.putBlob(content('more'))
  const dying: BlobStore = {
    ...store,
    readBlob: () => Promise.reject(new Error('the power is gone')),
  }
  await expect(backup({ store: dying })).rejects.toThrow('the power is gone')
  const { paths: copy, run } = restored(input.folder)
  await run()
  expect(await problemsAt(copy)).toMatchObject({ entries: 3, problems: [] })
})

test('what is there from an earlier backup is not copied again, and what rotted there is', async () => {
  const { input, store, backup } = await homeAtHand()
  const first = await backup()
  expect(first.copied).toBe(first.objects)
  expect(await backup()).toMatchObject({ copied: 0, objects: first.objects })
  await store.putBlob(content('new'))
  expect(await backup()).toMatchObject({ copied: 1, objects: first.objects + 1 })
  const said: string[] = []
  for (const form of [parts['a blob'], parts['a bundle'], parts['a tile']]) {
    const name = filesIn(input.folder).find((file) => form.test(file)) ?? ''
    flip(join(input.folder, name))
  }
  await backup({ report: (line) => said.push(line) })
  expect(said.filter((line) => line.includes('was damaged'))).toHaveLength(3)
  await restored(input.folder).run()
})

test('a damaged store is not backed up over a good copy', async () => {
  const { input, paths, backup } = await homeAtHand()
  await backup()
  const key = filesIn(paths.store).find((one) => one.startsWith('bundles/leaf/')) ?? ''
  flip(join(paths.store, key))
  // The copy is there already, so it stands, and stays whole.
  await backup()
  await restored(input.folder).run()
  const blob = filesIn(paths.store).find((one) => one.startsWith('blobs/')) ?? ''
  flip(join(paths.store, blob))
  await expect(backup({ folder: join(scratch(), 'fresh') })).rejects.toMatchObject({
    code: expect.stringMatching(/digest_mismatch|ledger_corrupt/) as string,
  })
})

test('a store older than the backup is not backed up over it', async () => {
  const { input, ledger, paths, backup } = await homeAtHand()
  const old = join(scratch(), 'old')
  cpSync(paths.store, old, { recursive: true })
  await ledger.decide({ id: 'more', signable: example('refusal', 7) })
  await backup()
  const olderStore = {
    store: openFolderStore({ root: old }),
    head: openFolderHead({ root: old }),
  }
  await expect(backup(olderStore)).rejects.toMatchObject({ code: 'ledger_forked' })
  const { paths: copy, run } = restored(input.folder)
  await run()
  expect(await problemsAt(copy)).toMatchObject({ entries: 4 })
})

test('a home in which anything lies is left as it is', async () => {
  const { input, paths, backup } = await homeAtHand()
  await backup()
  const before = filesIn(paths.home)
  const objects = openObjectStore({ kind: 'folder', root: paths.store })
  await expect(restored(input.folder, { paths, objects }).run()).rejects.toMatchObject({
    code: 'refused',
    fix: expect.stringContaining('move it aside') as string,
  })
  expect(filesIn(paths.home)).toEqual(before)
})

test('an interrupted restore keeps Kiln from starting, and is only repeated', async () => {
  const { input, backup } = await homeAtHand()
  await backup()
  const first = restored(input.folder)
  const objects = openObjectStore({ kind: 'folder', root: first.paths.store })
  let put = 0
  const dying: AgingStore = {
    ...objects.store,
    async put(key, bytes) {
      put += 1
      if (put > 3) throw new Error('the power is gone')
      await objects.store.put(key, bytes)
    },
  }
  const { paths } = first
  const broken = restored(input.folder, { paths, objects: { ...objects, store: dying } })
  await expect(broken.run()).rejects.toThrow('the power is gone')
  expect(() => demandRestored(paths)).toThrow('has not ended')
  expect(await objects.head.read()).toBeUndefined()
  const other = await homeAtHand()
  await other.backup()
  const another = restored(other.input.folder, { paths, objects })
  await expect(another.run()).rejects.toMatchObject({ code: 'refused' })
  await restored(input.folder, { paths, objects }).run()
  expect(await problemsAt(paths)).toMatchObject({ entries: 3, problems: [] })
  demandRestored(paths)
})

test('objects that outlived the machine stay, with all that came after the backup; another log is refused', async () => {
  const { input, ledger, paths, backup } = await homeAtHand()
  await backup()
  await ledger.decide({ id: 'more', signable: example('refusal', 7) })
  const objects = openObjectStore({ kind: 'folder', root: paths.store })
  const { paths: copy, run } = restored(input.folder, { objects, inHome: false })
  await run()
  const state = readFileSync(join(copy.keys, 'checkpoint-state.json'), 'utf8')
  expect(JSON.parse(state)).toMatchObject({ last: { size: 4 } })
  const other = await homeAtHand()
  const elsewhere = openObjectStore({ kind: 'folder', root: other.paths.store })
  const wrong = restored(input.folder, { objects: elsewhere, inHome: false })
  await expect(wrong.run()).rejects.toMatchObject({ code: 'ledger_forked' })
})

test('room is asked for before anything is copied', async () => {
  const folder = scratch()
  await expect(demandSpace(folder, 1e18)).rejects.toMatchObject({ code: 'store_unavailable' })
  await demandSpace(folder, 1)
})

test('every kind of object is either backed up or left out on purpose', () => {
  const formats = readFileSync(join(import.meta.dirname, '../../docs/formats.md'), 'utf8')
  const table = formats.slice(0, formats.indexOf('## Statements'))
  const keys = [...table.matchAll(/^\| `([a-z]+)\//gm)].map(([, prefix]) => `${prefix}/`)
  const known = [...backedUp, ...leftOut, 'head/'].map((one) => `${one.split('/')[0]}/`)
  expect(keys.length).toBeGreaterThan(8)
  expect(keys.filter((key) => !known.includes(key))).toEqual([])
})

test('a backup is for its owner alone', async () => {
  const { input, backup } = await homeAtHand()
  await backup()
  expect(statSync(input.folder).mode & 0o077).toBe(0)
})
