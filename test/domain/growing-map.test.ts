import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { GrowingMap } from '../../src/domain/growing-map.ts'

const step = fc.record({ from: fc.nat(30), key: fc.nat(8), value: fc.nat(100) })

test('every map stays what it was, whichever of them goes on', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const grown = [new GrowingMap<number, number>()]
      const plain = [new Map<number, number>()]
      for (const { from, key, value } of steps) {
        const at = from % grown.length
        grown.push((grown[at] as GrowingMap<number, number>).with(key, value))
        plain.push(new Map(plain[at]).set(key, value))
      }
      for (const [at, map] of grown.entries()) {
        const wanted = plain[at] as Map<number, number>
        expect([...map]).toEqual([...wanted])
        expect([...map.keys()]).toEqual([...wanted.keys()])
        expect([...map.values()]).toEqual([...wanted.values()])
        expect(map.size).toBe(wanted.size)
        for (let key = 0; key <= 8; key++) {
          expect(map.get(key)).toBe(wanted.get(key))
          expect(map.has(key)).toBe(wanted.has(key))
        }
      }
    }),
  )
})

test('two of them are equal when their entries are, for a test too', () => {
  const one = new GrowingMap<string, number>().with('a', 1)
  expect(one).toEqual(new GrowingMap<string, number>().with('a', 1))
  expect(one).not.toEqual(new GrowingMap<string, number>().with('a', 2))
  expect(one).not.toEqual(one.with('b', 2))
})
