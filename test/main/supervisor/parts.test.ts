import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { afterCrash, noCrash } from '../../../src/main/supervisor/backoff.ts'
import { lastLines, rotateLog } from '../../../src/main/supervisor/log-file.ts'
import { startOrder } from '../../../src/main/supervisor/process-description.ts'
import { describe, makeHome } from './scratch.ts'

test('waiting doubles with each crash in a row, up to 5 s, and begins anew after 30 s of life', () => {
  const waits: number[] = []
  let backoff = noCrash
  for (let crash = 0; crash < 9; crash += 1) {
    backoff = afterCrash(backoff, 1000)
    waits.push(backoff.delayMs)
  }
  expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000])
  expect(afterCrash(backoff, 29_999).delayMs).toBe(5000)
  expect(afterCrash(backoff, 30_000)).toEqual({ crashes: 1, delayMs: 100 })
  expect(afterCrash(backoff, 1000, 200).delayMs).toBe(200)
})

function named(name: string, dependsOn: readonly string[]) {
  return describe({ name }, { dependsOn })
}

test('processes come after those they depend on', () => {
  const all = [named('host', ['server', 'edge']), named('server', ['store']), named('edge', [])]
  const ordered = startOrder([...all, named('store', [])])
  expect(ordered.map(({ name }) => name)).toEqual(['store', 'server', 'edge', 'host'])
})

test.each([
  ['an unknown name', [named('a', ['b'])], /b: unknown/],
  ['a circle', [named('a', ['b']), named('b', ['a'])], /wait for each other: a, b/],
  ['a name given twice', [named('a', []), named('a', [])], /one name/],
])('%s in the description is refused', (_what, processes, message) => {
  expect(() => startOrder(processes)).toThrow(message)
})

test('a log is moved aside at its limit, the oldest is dropped', () => {
  const { home } = makeHome()
  const path = join(home, 'x.log')
  const limits = { maxBytes: 4, files: 3 }
  for (const text of ['one1', 'two2', 'three']) {
    writeFileSync(path, text)
    expect(rotateLog(path, limits)).toBe(true)
    expect(readFileSync(path, 'utf8')).toBe('')
  }
  expect(rotateLog(path, limits)).toBe(false)
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('three')
  expect(readFileSync(`${path}.2`, 'utf8')).toBe('two2')
  expect(existsSync(`${path}.3`)).toBe(false)
  expect(rotateLog(join(home, 'absent.log'), limits)).toBe(false)
})

test('the last lines of a log are those of this run', async () => {
  const { home } = makeHome()
  const path = join(home, 'x.log')
  writeFileSync(path, 'before\n')
  const from = readFileSync(path).length
  expect(await lastLines(path, 20, from)).toEqual([])
  writeFileSync(path, `before\n${Array.from({ length: 30 }, (_, i) => `line ${i}`).join('\n')}\n`)
  expect(await lastLines(path, 2, from)).toEqual(['line 28', 'line 29'])
  expect(await lastLines(path, 50, from)).toHaveLength(30)
  // Emptied by a rotation since.
  writeFileSync(path, 'new\n')
  expect(await lastLines(path, 20, 1000)).toEqual(['new'])
  expect(await lastLines(join(home, 'absent'), 20)).toEqual([])
})
