import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

/**
 * Number 39 of the catalogue in docs/bad-input.md, all in one process of their own: small things that stand for
 * much more than a machine has. Refused by what they say, or as they come, in the memory of a small process.
 */
const scratch = mkdtempSync(join(tmpdir(), 'kiln-bombs-'))
afterAll(() => rmSync(scratch, { recursive: true }))

type Told = { name: string; message: string; memoryMiB: number; left: string[] }
let all: Told[]
beforeAll(async () => {
  const child = join(import.meta.dirname, 'bomb-child.ts')
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', child, scratch])
  all = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Told)
  // All of them, where each had a test's time of its own.
}, 300_000)

test.each([
  ['a million empty files', 'invalid_archive', 'more than 200000'],
  ['a million folders in names', 'invalid_archive', 'more than 200000 files and folders'],
  ['links that lead a long way', 'invalid_archive', 'a very long way'],
  ['a tool of 1 GiB', 'invalid_archive', 'more than 536870912 bytes'],
  ['a tool that ends in half a GiB of nothing', 'invalid_archive', 'more than 536870912 bytes'],
  ['a wheel that claims 4 GB', 'invalid_archive', 'more than 536870912 bytes'],
  ['a gzipped layer of 100 KB that holds 100 MB', 'invalid_archive', 'more than 67108864 bytes'],
  ['a layer in zstd', 'invalid_archive', 'a number that is none'],
  ['two gzipped archives in one layer', 'invalid_archive', 'bytes after its end'],
  ['bytes after a gzipped layer', 'invalid_image', 'compression is broken'],
  ['a layer of headers without a file', 'invalid_archive', 'more than 67108864 bytes'],
  ['layers of a million files', 'invalid_image', 'more than 20000 files and folders'],
  ['ten million files in git', 'invalid_repository', 'more than 100000 files'],
  ['a link of a MiB in git', 'invalid_repository', 'target has 1048576 bytes'],
])('39 %s', async (name, code, reason) => {
  const told = all.find((one) => one.name === name)
  expect(told).toMatchObject({ code, place: expect.stringMatching(/\w/) as unknown, left: [] })
  expect(told?.message).toContain(reason)
  // Node and Kiln's code alone take about 100 MiB.
  expect(told?.memoryMiB).toBeLessThan(512)
})
