import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  emptyRoot,
  leafHash,
  nodeHash,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from '../../signing/merkle.ts'
import {
  naiveConsistency,
  naiveInclusion,
  naiveLeafHash,
  naiveRoot,
} from '../helpers/naive-tree.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const leaves = (size: number) =>
  Array.from({ length: size }, (_, at) => leafHash(Buffer.from(`leaf ${at}`)))

/** A size, and two numbers below or equal to it. */
const tree = fc.integer({ min: 1, max: 130 }).chain((size) =>
  fc.record({
    size: fc.constant(size),
    index: fc.integer({ min: 0, max: size - 1 }),
    from: fc.integer({ min: 0, max: size }),
  }),
)

test('hashes are those of the RFC', () => {
  expect(hex(emptyRoot())).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  expect(hex(leafHash(new Uint8Array()))).toBe(
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  )
  expect(hex(nodeHash(leafHash(Buffer.from('a')), leafHash(Buffer.from('b'))))).toBe(
    hex(naiveRoot([naiveLeafHash(Buffer.from('a')), naiveLeafHash(Buffer.from('b'))])),
  )
})

test('the root of a list is that of the naive tree', () => {
  for (let size = 0; size <= 130; size += 1) {
    expect(hex(rootOf(leaves(size)))).toBe(hex(naiveRoot(leaves(size))))
  }
})

test('every true inclusion is accepted, and none under another index, size, leaf or root', () => {
  fc.assert(
    fc.property(tree, fc.nat(140), ({ size, index }, other) => {
      const all = leaves(size)
      const claim = {
        leafHash: all[index]!,
        index,
        size,
        proof: naiveInclusion(all, index),
        root: naiveRoot(all),
      }
      expect(verifyInclusion(claim)).toBe(true)
      expect(verifyInclusion({ ...claim, index: other })).toBe(other === index)
      const bad = leafHash(Buffer.from('another'))
      expect(verifyInclusion({ ...claim, leafHash: bad })).toBe(false)
      expect(verifyInclusion({ ...claim, root: bad })).toBe(false)
      expect(verifyInclusion({ ...claim, proof: [...claim.proof, bad] })).toBe(false)
      expect(verifyInclusion({ ...claim, proof: claim.proof.slice(1) })).toBe(
        claim.proof.length === 0,
      )
      for (const at of claim.proof.keys()) {
        expect(verifyInclusion({ ...claim, proof: claim.proof.with(at, bad) })).toBe(false)
      }
    }),
  )
})

test('every true extension is accepted, and no other', () => {
  fc.assert(
    fc.property(tree, fc.nat(140), ({ size, from }, other) => {
      const all = leaves(size)
      const claim = {
        from: { size: from, root: naiveRoot(all.slice(0, from)) },
        to: { size, root: naiveRoot(all) },
        proof: naiveConsistency(all, from),
      }
      expect(verifyConsistency(claim)).toBe(true)
      const bad = leafHash(Buffer.from('another'))
      expect(verifyConsistency({ ...claim, from: { size: from, root: bad } })).toBe(false)
      expect(verifyConsistency({ ...claim, proof: [...claim.proof, bad] })).toBe(false)
      if (from === 0) return
      expect(verifyConsistency({ ...claim, to: { size, root: bad } })).toBe(false)
      expect(verifyConsistency({ ...claim, from: { ...claim.from, size: other } })).toBe(
        other === from,
      )
      for (const at of claim.proof.keys()) {
        expect(verifyConsistency({ ...claim, proof: claim.proof.with(at, bad) })).toBe(false)
      }
    }),
  )
})

test.each([
  ['a tree of which one old leaf was rewritten', 3, 8],
  ['a tree of which the last old leaf was rewritten', 7, 8],
])('no proof leads to %s', (_what, from, size) => {
  const honest = leaves(from)
  for (let at = 0; at < from; at += 1) {
    const forked = leaves(size).with(at, leafHash(Buffer.from('rewritten')))
    expect(
      verifyConsistency({
        from: { size: from, root: rootOf(honest) },
        to: { size, root: rootOf(forked) },
        proof: naiveConsistency(forked, from),
      }),
    ).toBe(false)
  }
})

test('numbers that are no counts, and hashes of another length, are refused', () => {
  const all = leaves(2)
  const claim = { leafHash: all[0]!, index: 0, size: 2, proof: [all[1]!], root: rootOf(all) }
  expect(verifyInclusion(claim)).toBe(true)
  for (const bad of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    expect(verifyInclusion({ ...claim, index: bad })).toBe(false)
    expect(verifyInclusion({ ...claim, size: bad })).toBe(false)
    expect(
      verifyConsistency({
        from: { size: bad, root: all[0]! },
        to: { size: 2, root: claim.root },
        proof: [all[1]!],
      }),
    ).toBe(false)
  }
  expect(verifyInclusion({ ...claim, proof: [all[1]!.subarray(1)] })).toBe(false)
})
