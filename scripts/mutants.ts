import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { judgePatched, judgeUnpatched, type Ground, type Verdict } from './mutants/judge.ts'
import { mutantsFolder, readMutants, type Mutant } from './mutants/patch.ts'
import { runTests } from './mutants/run-test.ts'
import { copyTree, type TreeCopy } from './mutants/tree-copy.ts'

/**
 * Takes each protection out of a copy of the tree, by the patches in test/mutants, and asks whether the
 * named test fails where it should.
 *
 *   npm run mutants -- [--only NAME]… [--json]
 *
 * Exit code 0 when every test noticed, 1 when one did not, 2 for wrong arguments.
 */

type Result = { mutant: Mutant; verdict: Verdict; seconds: number }

const root = resolve(import.meta.dirname, '..')

/** Every name of the file at once: the machine does the slow part of a file's set-up one time. */
async function unpatched(copy: TreeCopy, mutants: readonly Mutant[]): Promise<Ground[]> {
  const [first] = mutants
  if (first === undefined) return []
  const run = await runTests(
    copy.root,
    first.test,
    mutants.map(({ testName }) => testName),
  )
  return mutants.map((mutant) => judgeUnpatched(mutant, run))
}

async function patched(copy: TreeCopy, mutant: Mutant): Promise<Verdict> {
  try {
    await copy.apply(mutant.path)
  } catch (error) {
    return { kind: 'failed', why: `the patch does not apply\n${textOf(error)}` }
  }
  try {
    return judgePatched(mutant, await runTests(copy.root, mutant.test, [mutant.testName]))
  } finally {
    await copy.revert(mutant.path)
  }
}

async function runAll(
  mutants: readonly Mutant[],
  tell: (result: Result) => void,
): Promise<Result[]> {
  const copy = await copyTree(root)
  const results: Result[] = []
  try {
    for (const ofFile of Map.groupBy(mutants, ({ test }) => test).values()) {
      const before = await unpatched(copy, ofFile)
      for (const [at, mutant] of ofFile.entries()) {
        const began = performance.now()
        const sound = before[at]
        const verdict = sound?.kind === 'failed' ? sound : await patched(copy, mutant)
        const seconds = Math.round((performance.now() - began) / 100) / 10
        const result = { mutant, verdict, seconds }
        results.push(result)
        tell(result)
      }
    }
  } finally {
    await copy.remove()
  }
  return results
}

function lineOf({ mutant, verdict, seconds }: Result): string {
  const { name, promise, what } = mutant
  if (verdict.kind === 'killed') return `✓ ${promise} ${name}: ${what} (${seconds} s)`
  const why = verdict.why.split('\n').join('\n    ')
  return `✗ ${promise} ${name}: ${what}\n    ${mutant.test} › ${mutant.testName}\n    ${why}`
}

function documentOf(results: readonly Result[]) {
  const mutants = results.map(({ mutant, verdict, seconds }) => {
    const { name, promise, what, test, testName, failsAt } = mutant
    const why = verdict.kind === 'failed' ? { why: verdict.why } : {}
    return { name, promise, what, test, testName, failsAt, verdict: verdict.kind, ...why, seconds }
  })
  const killed = results.filter(({ verdict }) => verdict.kind === 'killed').length
  return { mutants, killed, failed: results.length - killed }
}

function choose(mutants: readonly Mutant[], only: readonly string[]): Mutant[] {
  const unknown = only.filter((name) => !mutants.some((mutant) => mutant.name === name))
  if (unknown.length > 0) {
    throw new Error(`no such mutant in ${mutantsFolder}: ${unknown.join(', ')}`)
  }
  return mutants.filter(({ name }) => only.length === 0 || only.includes(name))
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

function readArguments() {
  const options = {
    only: { type: 'string', multiple: true, default: [] as string[] },
    json: { type: 'boolean', default: false },
  } as const
  return parseArgs({ options }).values
}

async function main(): Promise<number> {
  let chosen: Mutant[]
  let json: boolean
  try {
    const values = readArguments()
    json = values.json
    chosen = choose(await readMutants(root), values.only)
  } catch (error) {
    process.stderr.write(`${textOf(error)}\n`)
    return 2
  }
  const results = await runAll(chosen, (result) => {
    if (!json) say(lineOf(result))
  })
  const document = documentOf(results)
  say(json ? JSON.stringify(document) : `${document.killed} killed, ${document.failed} failed`)
  return document.failed === 0 && document.killed > 0 ? 0 : 1
}

process.exitCode = await main()
