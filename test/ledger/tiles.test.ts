import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeEntries, encodeEntries, newTiles, tileKey } from '../../src/ledger/tiles.ts'

test.each([
  [{ level: 0, index: 0, width: 256 }, 'tile/0/000'],
  [{ level: 1, index: 5, width: 3 }, 'tile/1/005.p/3'],
  [{ level: 'entries', index: 999, width: 256 }, 'tile/entries/999'],
  [{ level: 0, index: 1000, width: 256 }, 'tile/0/x001/000'],
  [{ level: 0, index: 1_234_067, width: 255 }, 'tile/0/x001/x234/067.p/255'],
] as const)('%j is named %s', (name, key) => {
  expect(tileKey(name)).toBe(key)
})

test('a tree of 70,000 has 274 tiles of leaf hashes, 2 above them and 1 on top', () => {
  const names = newTiles(0, 70_000).filter(({ level }) => level !== 'entries')
  expect(names.filter(({ level }) => level === 0)).toHaveLength(274)
  expect(names.filter(({ level }) => level === 1).map(({ width }) => width)).toEqual([256, 17])
  expect(names.filter(({ level }) => level === 2)).toEqual([{ level: 2, index: 0, width: 1 }])
})

test('however a log grew, every tile of its final tree was written on the way', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 30 }),
      (steps) => {
        const written = new Set<string>()
        let size = 0
        for (const step of steps) {
          const names = newTiles(size, size + step).map(tileKey)
          expect(names.filter((name) => written.has(name))).toEqual([])
          for (const name of names) written.add(name)
          size += step
        }
        const missing = newTiles(0, size).filter((name) => !written.has(tileKey(name)))
        expect(missing).toEqual([])
      },
    ),
  )
})

test('entries are read back as they were written, and half of one is not an entry', () => {
  const entries = [Buffer.from('one'), Buffer.alloc(0), Buffer.alloc(65_535, 7)]
  const bytes = encodeEntries(entries)
  expect(decodeEntries(bytes, 'x').map((entry) => Buffer.from(entry))).toEqual(entries)
  for (const broken of [bytes.subarray(0, -1), bytes.subarray(0, 1), bytes.subarray(1)]) {
    expect(() => decodeEntries(broken, 'tile/entries/000')).toThrow('runs past its end')
  }
})
