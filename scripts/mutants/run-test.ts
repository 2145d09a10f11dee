import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve, sep } from 'node:path'
import { execa } from 'execa'
import { z } from 'zod'

/** What one test did; `output` is its failures' messages and the lines of code that they point at. */
export type TestResult = { name: string; passed: boolean; output: string }

/** A run of one file: `problem` is what kept it from running at all. */
export type FileRun = { tests: TestResult[]; problem: string | null }

/** A file with real containers takes a minute or two; one that takes longer hangs. */
const limitMs = 600_000

const form = z.object({
  testResults: z.array(
    z.object({
      message: z.string(),
      assertionResults: z.array(
        z.object({
          fullName: z.string(),
          status: z.string(),
          failureMessages: z.array(z.string()).nullish(),
        }),
      ),
    }),
  ),
})

/** Runs the tests of `file` whose full name contains one of `names`; the others are not in the answer. */
export async function runTests(
  root: string,
  file: string,
  names: readonly string[],
): Promise<FileRun> {
  const folder = await mkdtemp(join(tmpdir(), 'kiln-mutants-report-'))
  const report = join(folder, 'report.json')
  try {
    const run = await execa(
      resolve(root, 'node_modules/.bin/vitest'),
      [
        'run',
        file,
        `--root=${root}`,
        `--testNamePattern=${names.map(literally).join('|')}`,
        '--reporter=json',
        `--outputFile=${report}`,
      ],
      {
        cwd: root,
        env: { KILN_TEST_SUMMARY: undefined },
        reject: false,
        timeout: limitMs,
        all: true,
        forceKillAfterDelay: 5000,
      },
    )
    const text = await readFile(report, 'utf8').catch(() => null)
    if (text === null) return { tests: [], problem: lastLines(run.all || run.shortMessage || '') }
    return await resultsOf(root, text)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function resultsOf(root: string, text: string): Promise<FileRun> {
  const files = form.parse(JSON.parse(text)).testResults
  const tests: TestResult[] = []
  for (const { fullName, status, failureMessages } of files.flatMap(
    (file) => file.assertionResults,
  )) {
    if (status !== 'passed' && status !== 'failed') continue
    const messages = (failureMessages ?? []).join('\n')
    const output = `${messages}\n${(await codeOf(root, messages)).join('\n')}`
    tests.push({ name: fullName, passed: status === 'passed', output })
  }
  const problem = files.map(({ message }) => message).filter(Boolean)
  return { tests, problem: tests.length > 0 || problem.length === 0 ? null : problem.join('\n') }
}

/** The lines of tests that a stack names. They say what failed where a message says only what was found. */
async function codeOf(root: string, stack: string): Promise<string[]> {
  const places = stack.matchAll(/(\/[^\s():]+\.ts):(\d+):\d+/g)
  const lines: string[] = []
  for (const [, path = '', line] of places) {
    if (!path.startsWith(join(root, 'test') + sep)) continue
    const text = await readFile(path, 'utf8').catch(() => '')
    lines.push((text.split('\n')[Number(line) - 1] ?? '').trim())
  }
  return lines
}

/** A full name is joined with spaces in the report, and with ` > ` where the pattern is applied. */
function literally(text: string): string {
  const escaped = text.replace(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)
  return escaped.replaceAll(' ', '(?: > | )')
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-20).join('\n')
}
