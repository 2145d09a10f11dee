import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { digestOfHex, type Digest } from '../../src/domain/digest.ts'
import {
  blobKey,
  type AgedObject,
  type AgingStore,
  type BlobStore,
  type HeadStore,
} from '../../src/store/blob-store.ts'
import { probeStore } from '../../src/store/probe.ts'
import { chunks, keys, read } from './keys.ts'

export type Opened = { store: AgingStore; head: HeadStore }

/** What every adapter of the store keeps. `open` gives an empty store. */
export function storeContract(open: () => Promise<Opened>): void {
  test('gives back what was put, and undefined for what was not', async () => {
    const { store } = await open()
    await store.put('bundles/leaf/a', Buffer.from('one'))
    expect(await read(store, 'bundles/leaf/a')).toBe('one')
    expect(await store.size('bundles/leaf/a')).toBe(3)
    expect(await store.get('bundles/leaf/b')).toBeUndefined()
    expect(await store.size('bundles/leaf/b')).toBeUndefined()
    expect(await store.get('bundles/leaf')).toBeUndefined()
  })

  test('takes the same bytes again, refuses other bytes and keeps the first', async () => {
    const { store } = await open()
    await store.put('tile/0/000', Buffer.from('one'))
    await store.put('tile/0/000', Buffer.from('one'))
    await expect(store.put('tile/0/000', Buffer.from('two'))).rejects.toMatchObject({
      code: 'digest_mismatch',
    })
    expect(await read(store, 'tile/0/000')).toBe('one')
  })

  test('of 20 writers of different bytes exactly one wins, and its bytes stay', async () => {
    const { store } = await open()
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => store.put('race', Buffer.from(`writer ${n}`))),
    )
    const winners = results.flatMap((result, n) => (result.status === 'fulfilled' ? [n] : []))
    expect(winners).toHaveLength(1)
    expect(await read(store, 'race')).toBe(`writer ${winners[0]}`)
    const refusals = results.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as unknown] : [],
    )
    expect(refusals).toEqual(
      refusals.map(() => expect.objectContaining({ code: 'digest_mismatch' }) as unknown),
    )
  })

  test.each(['../a', 'a/../b', '/a', 'a//b', 'a/.', '', 'a b', 'a\0', 'head', 'head/1', 'tmp/x'])(
    'refuses the key %j',
    async (key) => {
      const { store } = await open()
      const refusal = { code: 'invalid_input' }
      await expect(async () => await store.put(key, Buffer.from('x'))).rejects.toMatchObject(
        refusal,
      )
      await expect(async () => await store.get(key)).rejects.toMatchObject(refusal)
      await expect(async () => await store.size(key)).rejects.toMatchObject(refusal)
      await expect(async () => await keys(store, `${key}/`)).rejects.toMatchObject(refusal)
    },
  )

  test('keeps blobs under their own digest, whole and in ranges', async () => {
    const { store } = await open()
    const bytes = randomBytes(200_000)
    const digest = digestOf(bytes)
    expect(await store.putBlob(chunks(bytes))).toEqual({ digest, size: bytes.length })
    expect(await store.putBlob(chunks(bytes), digest)).toEqual({ digest, size: bytes.length })
    expect(await blob(store, digest)).toEqual(bytes)
    expect(await blob(store, digest, { start: 10, end: 19 })).toEqual(bytes.subarray(10, 20))
    expect(await store.size(blobKey(digest))).toBe(bytes.length)
  })

  test('keeps an empty blob', async () => {
    const { store } = await open()
    const digest = digestOf(Buffer.alloc(0))
    expect(await store.putBlob(chunks(Buffer.alloc(0)))).toEqual({ digest, size: 0 })
    expect(await store.size(blobKey(digest))).toBe(0)
    expect(await blob(store, digest)).toEqual(Buffer.alloc(0))
  })

  test('keeps a blob of 20 MB, twice', async () => {
    const { store } = await open()
    const bytes = randomBytes(20_000_000)
    const digest = digestOf(bytes)
    await store.putBlob(chunks(bytes), digest)
    await store.putBlob(chunks(bytes), digest)
    expect((await blob(store, digest))?.equals(bytes)).toBe(true)
  })

  test('stores nothing of content that is not what was expected, or that breaks off', async () => {
    const { store } = await open()
    const bytes = Buffer.from('found')
    const expected = digestOf(Buffer.from('expected'))
    await expect(store.putBlob(chunks(bytes), expected)).rejects.toMatchObject({
      code: 'digest_mismatch',
    })
    await expect(store.putBlob(breaking(bytes))).rejects.toThrow('broke off')
    expect(await keys(store, 'blobs/')).toEqual([])
    expect(await store.readBlob(expected)).toBeUndefined()
  })

  test.each([
    ['small', Buffer.from('right')],
    ['large', Buffer.alloc(20_000_000, 'right')],
  ])('refuses to call a %s blob stored when its name holds other bytes', async (_size, bytes) => {
    const { store } = await open()
    await store.put(blobKey(digestOf(bytes)), Buffer.from('wrong'))
    await expect(store.putBlob(chunks(bytes))).rejects.toMatchObject({ code: 'digest_mismatch' })
    expect(await read(store, blobKey(digestOf(bytes)))).toBe('wrong')
  })

  test('a reader that stops early leaves the store usable', async () => {
    const { store } = await open()
    const bytes = randomBytes(3_000_000)
    const { digest } = await store.putBlob(chunks(bytes))
    for (let round = 0; round < 60; round += 1) {
      for await (const chunk of (await store.readBlob(digest)) ?? []) {
        expect(chunk.length).toBeGreaterThan(0)
        break
      }
    }
    expect((await blob(store, digest))?.equals(bytes)).toBe(true)
  })

  test('lists every key below a prefix and none beside it', async () => {
    const { store } = await open()
    await Promise.all(
      ['list/a', 'list/b/c', 'list/b/d/e', 'listen/f'].map((key) =>
        store.put(key, Buffer.from(key)),
      ),
    )
    expect(await keys(store, 'list/')).toEqual(['list/a', 'list/b/c', 'list/b/d/e'])
    expect(await keys(store, 'none/')).toEqual([])
    await expect(keys(store, 'list')).rejects.toMatchObject({ code: 'invalid_input' })
  })

  test('says how old objects are, renews them and removes them', async () => {
    const { store } = await open()
    const before = Date.now() - 2000
    await store.put('aged/a', Buffer.from('one'))
    await store.put('aged/b/c', Buffer.from('three'))
    const [first] = await aged(store)
    expect(first).toMatchObject({ key: 'aged/a', size: 3 })
    expect(first?.touchedAt).toBeGreaterThan(before)
    expect(await store.touchedAt('aged/a')).toBe(first?.touchedAt)
    expect(await store.renew('aged/a')).toBe(true)
    expect(await store.touchedAt('aged/a')).toBeGreaterThanOrEqual(first?.touchedAt ?? Infinity)
    expect(await read(store, 'aged/a')).toBe('one')
    await store.remove('aged/a')
    await store.remove('aged/a')
    expect(await store.get('aged/a')).toBeUndefined()
    expect(await store.touchedAt('aged/a')).toBeUndefined()
    expect(await store.renew('aged/a')).toBe(false)
    expect((await aged(store)).map(({ key, size }) => ({ key, size }))).toEqual([
      { key: 'aged/b/c', size: 5 },
    ])
    await store.put('aged/a', Buffer.from('another'))
    expect(await read(store, 'aged/a')).toBe('another')
  })

  test('the head moves only from what was seen', async () => {
    const { head } = await open()
    expect(await head.read()).toBeUndefined()
    const first = await head.swap(undefined, Buffer.from('1'))
    await expect(head.swap(undefined, Buffer.from('other'))).rejects.toMatchObject({
      code: 'lost_race',
    })
    const second = await head.swap(first.version, Buffer.from('2'))
    await expect(head.swap(first.version, Buffer.from('other'))).rejects.toMatchObject({
      code: 'lost_race',
    })
    expect(await head.read()).toEqual({ bytes: Buffer.from('2'), version: second.version })
  })

  test('a head that is gone cannot be moved', async () => {
    const [before, after] = [await open(), await open()]
    const { version } = await before.head.swap(undefined, Buffer.from('1'))
    await expect(after.head.swap(version, Buffer.from('2'))).rejects.toMatchObject({
      code: 'lost_race',
    })
    expect(await after.head.read()).toBeUndefined()
  })

  test('a swap made again with the same bytes succeeds: its first answer may have been lost', async () => {
    const { head } = await open()
    const first = await head.swap(undefined, Buffer.from('1'))
    const second = await head.swap(first.version, Buffer.from('2'))
    expect(await head.swap(first.version, Buffer.from('2'))).toEqual(second)
    expect(Buffer.from((await head.read())?.bytes ?? []).toString()).toBe('2')
  })

  test('of 20 writers that saw the same head exactly one moves it', async () => {
    const { head } = await open()
    let seen: string | undefined
    for (let round = 0; round < 3; round += 1) {
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, (_, n) => head.swap(seen, Buffer.from(`${round} ${n}`))),
      )
      const winners = results.flatMap((result, n) => (result.status === 'fulfilled' ? [n] : []))
      expect(winners).toHaveLength(1)
      const now = await head.read()
      expect(Buffer.from(now?.bytes ?? []).toString()).toBe(`${round} ${winners[0]}`)
      seen = now?.version
    }
  })

  test('a writer that slept through 40 moves cannot move the head', async () => {
    const { head } = await open()
    const old = await head.swap(undefined, Buffer.from('first'))
    let seen = old.version
    for (let n = 0; n < 40; n += 1) {
      seen = (await head.swap(seen, Buffer.from(`move ${n}`))).version
    }
    await expect(head.swap(old.version, Buffer.from('late'))).rejects.toMatchObject({
      code: 'lost_race',
    })
    expect(await head.read()).toEqual({ bytes: Buffer.from('move 39'), version: seen })
  })

  test('passes the probe that the server makes at its start', async () => {
    const { store, head } = await open()
    await expect(probeStore({ store, probeHead: head })).resolves.toBeUndefined()
    await expect(probeStore({ store, probeHead: head })).resolves.toBeUndefined()
  })
}

async function blob(
  store: BlobStore,
  digest: Digest,
  range?: { start: number; end: number },
): Promise<Buffer | undefined> {
  const content = await store.readBlob(digest, range)
  if (content === undefined) return undefined
  const parts: Uint8Array[] = []
  for await (const part of content) parts.push(part)
  return Buffer.concat(parts)
}

async function aged(store: AgingStore): Promise<AgedObject[]> {
  const found: AgedObject[] = []
  for await (const one of store.entries('aged/')) found.push(one)
  return found.toSorted((a, b) => (a.key < b.key ? -1 : 1))
}

async function* breaking(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
  throw new Error('broke off')
}

function digestOf(bytes: Uint8Array): Digest {
  return digestOfHex(createHash('sha256').update(bytes).digest('hex'))
}
