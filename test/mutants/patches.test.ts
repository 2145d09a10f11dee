import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { judgePatched, judgeUnpatched } from '../../scripts/mutants/judge.ts'
import { parseHeader, readMutants } from '../../scripts/mutants/patch.ts'

const root = resolve(import.meta.dirname, '../..')
const mutants = await readMutants(root)

/** What the issue names; a file that is renamed or lost must not go unnoticed. */
const needed = [
  'ack-before-append',
  'clock-in-the-config',
  'clock-in-the-layer',
  'drain-skipped',
  'lock-not-compared',
  'network-in-build',
  'no-fencing',
  'read-back-skipped',
  'start-without-verifying',
]

test('the protections that must have a mutant have one', () => {
  expect(mutants.map(({ name }) => name)).toEqual(expect.arrayContaining(needed))
})

test.each(mutants)('$name applies to the tree as it is', async ({ path }) => {
  const applied = await execa('git', ['apply', '--check', path], { cwd: root, reject: false })
  expect(applied.stderr).toBe('')
  expect(applied.exitCode).toBe(0)
})

test('each names a test that vitest finds', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kiln-mutants-list-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const list = join(folder, 'tests.json')
  const files = [...new Set(mutants.map((one) => one.test))]
  // Without static parsing tables have the names of their rows. With `=` after `--json`: vitest would
  // take a file that follows it for the one to write to.
  const args = ['list', '--staticParse=false', '--no-isolate', `--json=${list}`, ...files]
  await execa('vitest', args, { cwd: root, preferLocal: true })
  const found = z
    .array(z.object({ name: z.string(), file: z.string() }))
    .parse(JSON.parse(await readFile(list, 'utf8')))
    .map(({ name, file }) => `${relative(root, file)}: ${name.replaceAll(' > ', ' ')}`)
  const lost = mutants.filter(
    ({ test: file, testName }) =>
      !found.some((one) => one.startsWith(`${file}: `) && one.includes(testName)),
  )
  expect(lost.map(({ name }) => name)).toEqual([])
  // vitest loads every file that a mutant names.
}, 300_000)

const header = [
  'promise: I1',
  'what: a check is left out',
  'test: test/a/b.test.ts',
  'name: it holds',
  'fails at: toBe(1)',
]
const diff = 'diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n'
const withHeader = (lines: readonly string[]) => parseHeader(`${lines.join('\n')}\n\n${diff}`)

test('a header is read', () => {
  expect(withHeader(header)).toEqual({
    header: {
      promise: 'I1',
      what: 'a check is left out',
      test: 'test/a/b.test.ts',
      testName: 'it holds',
      failsAt: 'toBe(1)',
    },
  })
})

test.each([
  ['a missing line', header.slice(1), '«promise»: is missing'],
  ['a line twice', [...header, 'name: other'], 'a field stands twice'],
  ['an unknown field', [...header, 'why: x'], 'not a line of a header: "why: x"'],
  ['a value that is empty', ['promise:', ...header.slice(1)], 'not a line of a header: "promise:"'],
  ['no promise', ['promise: yes', ...header.slice(1)], '«promise»: not a promise, such as I1'],
  ['no test file', header.with(2, 'test: src/a.ts'), '«test»: not a test file'],
])('a header with %s is refused', (_what, lines, fault) => {
  expect(withHeader(lines)).toEqual({ faults: expect.arrayContaining([fault]) })
})

test('a file without a diff is refused', () => {
  expect(parseHeader(header.join('\n'))).toEqual({ faults: ['no diff in it'] })
})

const mutant = {
  name: 'm',
  path: 'm.patch',
  promise: 'I1',
  what: 'w',
  test: 'test/a/b.test.ts',
  testName: 'it holds',
  failsAt: 'toBe(1)',
}
const ran = (...tests: [string, boolean, string?][]) => ({
  tests: tests.map(([name, passed, output = '']) => ({ name, passed, output })),
  problem: null,
})

test('a mutant is killed only by the named test, at the named place', () => {
  const verdicts = [
    ran(['it holds', false, 'expect(x).toBe(1)']),
    ran(['it holds', true]),
    ran(['it holds', false, 'expect(x).toBe(2)']),
    ran(['it holds a', false, 'toBe(1)'], ['it holds b', false, 'timed out']),
    ran(['another', false, 'toBe(1)']),
    ran(),
  ].map((run) => judgePatched(mutant, run).kind)
  expect(verdicts).toEqual(['killed', 'failed', 'failed', 'failed', 'failed', 'failed'])
})

test('a test that fails by itself, or is not there, proves nothing', () => {
  const verdicts = [
    ran(['it holds', true]),
    ran(['it holds', true], ['it holds too', false]),
    ran(),
  ].map((run) => judgeUnpatched(mutant, run).kind)
  expect(verdicts).toEqual(['sound', 'failed', 'failed'])
})
