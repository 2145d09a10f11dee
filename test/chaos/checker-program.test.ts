import { execa } from 'execa'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { goodRun } from './good-run.ts'

test('the program prints one document, and its exit code is the judgement', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kiln-checker-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const run = await goodRun(folder)
  run.write()
  const script = join(import.meta.dirname, '../../scripts/chaos/checker/main.ts')
  const run1 = (...args: string[]) => execa(process.execPath, [script, ...args], { reject: false })
  const places = [
    '--store',
    run.store,
    '--trust',
    run.trust,
    '--evidence',
    run.evidence,
    '--host',
    'x',
  ]
  const good = await run1(...places)
  expect(good.exitCode).toBe(0)
  const { promises } = JSON.parse(good.stdout) as { promises: { id: string }[] }
  expect(promises).toHaveLength(9)
  run.left.volumes.push('v')
  run.write()
  expect((await run1(...places)).exitCode).toBe(1)
  expect((await run1('--store', run.store)).exitCode).toBe(2)
})
