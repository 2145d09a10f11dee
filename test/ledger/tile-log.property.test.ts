import * as fc from 'fast-check'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { parseCheckpoint } from '../../signing/checkpoint.ts'
import { leafHash, verifyConsistency, verifyInclusion } from '../../signing/merkle.ts'
import { openAppender } from '../../src/ledger/appender.ts'
import { newTiles, readTiles, tileKey, decodeEntries } from '../../src/ledger/tiles.ts'
import { emptyTree } from '../../src/ledger/tree.ts'
import { memorySigner } from '../helpers/ledger-signer.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { naiveLeafHash, naiveRoot } from '../helpers/naive-tree.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const leafOf = (number: number) => Buffer.from(`leaf ${number}`)

/** Batches of leaves by number, of which some come again; each batch is asked for at once. */
const anyBatches = fc.array(fc.array(fc.nat(400), { minLength: 1, maxLength: 90 }), {
  minLength: 1,
  maxLength: 8,
})

test('however it grew, a log is the tree over each leaf once, in the order of its indexes, and every checkpoint a beginning of it', async () => {
  await fc.assert(
    fc.asyncProperty(anyBatches, async (batches) => {
      const signer = memorySigner()
      const { store, head } = memoryStore()
      const logger = pino({ level: 'silent' })
      const deps = { store, head, signer, trust: signer.trust, logger, crashPoint: () => {} }
      const appender = openAppender(deps)
      const log: number[] = []
      for (const batch of batches) {
        const indexes = await Promise.all(batch.map((number) => appender.append(leafOf(number))))
        for (const [at, number] of batch.entries()) {
          const index = indexes[at] ?? -1
          expect(log[index] ?? number).toBe(number)
          log[index] = number
        }
      }
      expect(new Set(log).size).toBe(log.length)
      expect(new Set(log)).toEqual(new Set(batches.flat()))

      const hashes = log.map((number) => naiveLeafHash(leafOf(number)))
      const stored: Uint8Array[] = []
      for await (const tile of readTiles(store, 0, { from: 0, to: log.length }))
        stored.push(...tile)
      expect(stored.map(hex)).toEqual(hashes.map(hex))
      const names = newTiles(0, log.length).filter(({ level }) => level === 'entries')
      const entries = await Promise.all(
        names.map(async (name) => decodeEntries((await store.get(tileKey(name)))!, 'tile')),
      )
      expect(entries.flat().map(hex)).toEqual(log.map((number) => hex(leafOf(number))))

      for (const note of signer.notes) {
        const { size, root } = parseCheckpoint(note).checkpoint
        expect(hex(root)).toBe(hex(naiveRoot(hashes.slice(0, size))))
      }
      const { checkpoint: last } = parseCheckpoint(signer.notes.at(-1) ?? '')
      expect(last.size).toBe(log.length)
    }),
    { numRuns: 25 },
  )
})

/** A tree that grew by any steps, a size that it once had, and a leaf of it then. */
const anyGrowth = fc
  .array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 8 })
  .chain((steps) => {
    const size = steps.reduce((sum, step) => sum + step, 0)
    const sizes = steps.map((_, at) => steps.slice(0, at + 1).reduce((sum, step) => sum + step, 0))
    return fc.record({
      sizes: fc.constant(sizes),
      to: fc.integer({ min: 1, max: size }),
      from: fc.nat(size),
      index: fc.nat(size - 1),
    })
  })

test('a tree that grew by any steps proves each leaf and each beginning of it to an auditor, and nothing else', () => {
  fc.assert(
    fc.property(anyGrowth, ({ from, index, sizes, to }) => {
      const size = sizes.at(-1) ?? 0
      const all = Array.from({ length: size }, (_, at) => leafHash(leafOf(at)))
      const tree = emptyTree()
      for (const [step, end] of sizes.entries()) tree.grow(all.slice(sizes[step - 1] ?? 0, end))
      const root = naiveRoot(all.slice(0, to))
      expect(hex(tree.root(to))).toBe(hex(root))
      const at = index % to
      const claim = {
        leafHash: all[at]!,
        index: at,
        size: to,
        proof: tree.inclusionProof(at, to),
        root,
      }
      expect(verifyInclusion(claim)).toBe(true)
      expect(verifyInclusion({ ...claim, leafHash: leafHash(leafOf(size)) })).toBe(false)
      const first = from % (to + 1)
      const before = { size: first, root: naiveRoot(all.slice(0, first)) }
      const proof = tree.consistencyProof(first, to)
      expect(verifyConsistency({ from: before, to: { size: to, root }, proof })).toBe(true)
      const forged = [leafHash(leafOf(-1)), ...all.slice(1, first)]
      const other = { size: first, root: naiveRoot(forged) }
      expect(verifyConsistency({ from: other, to: { size: to, root }, proof })).toBe(false)
    }),
  )
})
