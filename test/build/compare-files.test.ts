import { expect, test } from 'vitest'
import { compareFiles, describeDifference } from '../../src/build/compare-files.ts'
import { parseDigest } from '../../src/domain/digest.ts'
import type { FileRecord } from '../../src/oci/files-manifest.ts'

const file = (path: string, more: Partial<FileRecord> = {}): FileRecord => ({
  path,
  type: 'file',
  mode: '0644',
  owner: '0:0',
  size: 1,
  digest: parseDigest(`sha256:${'a'.repeat(64)}`),
  ...more,
})

test('names what is missing, what is new and which facts differ', () => {
  const recorded = [
    file('a'),
    file('b'),
    file('c', { xattrs: { x: 'AA==', y: 'AA==' } }),
    file('d'),
  ]
  const rebuilt = [
    file('e'),
    file('d', { mode: '0755', digest: parseDigest(`sha256:${'b'.repeat(64)}`) }),
    file('c', { xattrs: { y: 'AA==', x: 'AQ==' } }),
    file('a'),
  ]
  expect(compareFiles(recorded, rebuilt).map(describeDifference)).toEqual([
    'b: missing in the rebuilt artifact',
    'c: xattrs',
    'd: mode, digest',
    'e: only in the rebuilt artifact',
  ])
})

test('the same files in any order are the same', () => {
  const files = [file('a', { xattrs: { x: '1', y: '2' } }), file('b')]
  expect(compareFiles(files, files.toReversed())).toEqual([])
})
