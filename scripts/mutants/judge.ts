import type { Mutant } from './patch.ts'
import type { FileRun } from './run-test.ts'

type Failed = { kind: 'failed'; why: string }

/** `killed`: the test failed where it should. Everything else is a failure, with its reason. */
export type Verdict = { kind: 'killed' } | Failed

/** Whether a mutant's tests can prove anything. */
export type Ground = { kind: 'sound' } | Failed

/** There is at least one test of the name, and all of them pass without the patch. */
export function judgeUnpatched(mutant: Mutant, run: FileRun): Ground {
  const tests = namedTests(mutant, run)
  if (tests.length === 0) return failed(run.problem ?? `no test is named «${mutant.testName}»`)
  const broken = tests.find((test) => !test.passed)
  if (broken === undefined) return { kind: 'sound' }
  return failed(`the test fails without the patch too: ${broken.name}\n${broken.output.trim()}`)
}

/** Whether the test noticed, and every failure is the one that was foretold. */
export function judgePatched(mutant: Mutant, run: FileRun): Verdict {
  const tests = namedTests(mutant, run)
  if (tests.length === 0) return failed(run.problem ?? 'the patched file runs no test of this name')
  const broken = tests.filter((test) => !test.passed)
  if (broken.length === 0) return failed('the mutant survived: the test still passes')
  const elsewhere = broken.find((test) => !test.output.includes(mutant.failsAt))
  if (elsewhere === undefined) return { kind: 'killed' }
  return failed(
    `the test fails, but not at «${mutant.failsAt}»: ${elsewhere.name}\n${elsewhere.output.trim()}`,
  )
}

function namedTests({ testName }: Mutant, { tests }: FileRun): FileRun['tests'] {
  return tests.filter(({ name }) => name.includes(testName))
}

function failed(why: string): Failed {
  return { kind: 'failed', why }
}
