import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { rootOf, verifyConsistency, verifyInclusion } from '../../signing/merkle.ts'
import { emptyTree } from '../../src/ledger/tree.ts'
import { naiveConsistency, naiveInclusion, naiveRoot } from '../helpers/naive-tree.ts'

const leaves = Array.from({ length: 1000 }, (_, n) => createHash('sha256').update(`${n}`).digest())

function treeOf(size: number) {
  const tree = emptyTree()
  tree.grow(leaves.slice(0, size))
  return tree
}

test('roots and proofs are those of RFC 6962, word for word, for every small tree', () => {
  const tree = treeOf(70)
  for (let size = 1; size <= 70; size += 1) {
    const some = leaves.slice(0, size)
    expect(hex(tree.root(size))).toBe(hex(naiveRoot(some)))
    for (let n = 0; n < size; n += 1) {
      expect(tree.inclusionProof(n, size).map(hex)).toEqual(naiveInclusion(some, n).map(hex))
      expect(tree.consistencyProof(n, size).map(hex)).toEqual(naiveConsistency(some, n).map(hex))
    }
    expect(tree.consistencyProof(size, size)).toEqual([])
  }
})

test('an auditor accepts its proofs, and no other root', () => {
  const tree = treeOf(1000)
  for (const [index, size] of [
    [0, 1000],
    [255, 256],
    [256, 1000],
    [999, 1000],
  ] as const) {
    const claim = { leafHash: leaves[index]!, index, size, proof: tree.inclusionProof(index, size) }
    expect(verifyInclusion({ ...claim, root: tree.root(size) })).toBe(true)
    expect(verifyInclusion({ ...claim, root: tree.root(size - 1) })).toBe(false)
  }
  const proof = tree.consistencyProof(300, 1000)
  const to = { size: 1000, root: tree.root(1000) }
  expect(verifyConsistency({ from: { size: 300, root: tree.root(300) }, to, proof })).toBe(true)
  expect(verifyConsistency({ from: { size: 300, root: tree.root(301) }, to, proof })).toBe(false)
})

test('cut and grown again it is as if it had never been longer', () => {
  const tree = treeOf(500)
  tree.grow(leaves.slice(0, 300))
  tree.cut(500)
  tree.cut(123)
  tree.grow(leaves.slice(123, 777))
  expect(tree.size).toBe(777)
  expect(hex(tree.root(777))).toBe(hex(rootOf(leaves.slice(0, 777))))
  expect(() => tree.node(0, 777)).toThrow('no hash')
})

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
