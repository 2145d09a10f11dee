import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { execa } from 'execa'
import ts from 'typescript'
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
  const texts = await Promise.all(
    mutants.map(async ({ test: file }) => titlesIn(file, await readFile(join(root, file), 'utf8'))),
  )
  // Rows of tables have their names only where they run.
  const inTables = mutants.filter(
    ({ testName }, at) => !texts[at]!.some((title) => title.includes(testName)),
  )
  const found = await listed([...new Set(inTables.map((one) => one.test))])
  const lost = inTables.filter(
    ({ test: file, testName }) =>
      !found.some((one) => one.startsWith(`${file}: `) && one.includes(testName)),
  )
  expect(lost.map(({ name }) => name)).toEqual([])
  // vitest loads every file that is left.
}, 300_000)

test('a title is read with those around it, and of tables, texts and comments none is', () => {
  const text = `
    test('alone', () => {})
    // test('in a comment', () => {})
    const other = "test('in a text')"
    test.each([1])('row %s', () => {})
    describe("a group's", () => {
      test.concurrent('part', () => {})
      for (const one of rows) test(\`a template\`, () => {})
    })
    describe.each([1])('groups %s', () => { test('in a row', () => {}) })
  `
  expect(titlesIn('a.test.ts', text)).toEqual(['alone', "a group's part", "a group's a template"])
})

/** The full names of a file's tests whose titles, and those of the groups around them, stand there as they are. */
function titlesIn(file: string, text: string): string[] {
  const titles: string[] = []
  const visit = (node: ts.Node, before: string): void => {
    const called = ts.isCallExpression(node) ? callOf(node) : undefined
    if (called === 'table') return
    if (called?.what === 'test') titles.push(`${before}${called.title}`)
    const inside = called?.what === 'describe' ? `${before}${called.title} ` : before
    ts.forEachChild(node, (child) => visit(child, inside))
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest), '')
  return titles
}

type Called = { what: string; title: string }

/** `test` and `describe`, and their variants such as `test.concurrent`, with a title; `each` is a table. */
function callOf({
  arguments: [title],
  expression,
}: ts.CallExpression): Called | 'table' | undefined {
  if (ts.isCallExpression(expression)) return 'table'
  const named = ts.isPropertyAccessExpression(expression) ? expression.expression : expression
  if (!ts.isIdentifier(named) || title === undefined) return undefined
  return ts.isStringLiteralLike(title) ? { what: named.text, title: title.text } : undefined
}

/** All tests of these files, by file and full name, as vitest would run them. */
async function listed(files: readonly string[]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'kiln-mutants-list-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const list = join(folder, 'tests.json')
  // Without static parsing tables have the names of their rows. With `=` after `--json`: vitest would
  // take a file that follows it for the one to write to. One worker loads what files share once.
  const args = ['list', '--staticParse=false', '--no-isolate', '--maxWorkers=1', `--json=${list}`]
  await execa('vitest', [...args, ...files], { cwd: root, preferLocal: true })
  return z
    .array(z.object({ name: z.string(), file: z.string() }))
    .parse(JSON.parse(await readFile(list, 'utf8')))
    .map(({ name, file }) => `${relative(root, file)}: ${name.replaceAll(' > ', ' ')}`)
}

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
