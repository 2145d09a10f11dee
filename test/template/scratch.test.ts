import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { withScratch } from '../../src/template/scratch.ts'

test('a scratch folder goes with its work, and so does what killed processes left', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'kiln-test-'))
  const dead = spawnSync('true').pid
  const kept = [`kiln-root-${process.pid}-other`, `kiln-npm-${dead}-x`, 'somebody-else']
  for (const name of [...kept, `kiln-root-${dead}-x`]) await mkdir(join(parent, name))
  const failing = withScratch({ parent, kind: 'root' }, async (folder) => {
    expect(await readdir(parent)).toHaveLength(kept.length + 1)
    throw new Error(`failed in ${folder}`)
  })
  await expect(failing).rejects.toThrow('failed in')
  expect((await readdir(parent)).toSorted()).toEqual(kept.toSorted())
  await rm(parent, { recursive: true })
})
