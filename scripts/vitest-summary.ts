import { writeFileSync } from 'node:fs'

/** What this reporter reads of vitest's own reported tasks. */
type Reported = {
  state(): string
  errors(): readonly unknown[]
  children: {
    allTests(): Iterable<{ result(): { state: string } }>
    allSuites(): Iterable<{ errors(): readonly unknown[] }>
  }
}

type Run = {
  modules: readonly Reported[]
  /** Errors outside any test: an unhandled rejection, a worker that died. */
  stray: number
  /** Whether a name pattern chose the tests; those left out are then skipped on purpose. */
  filtered: boolean
}

/**
 * Counts a run for its closing line. A skipped test is a failed one, and so is a file that did not
 * load, a hook that threw, a stray error, or a run that executed nothing: none of them proves anything.
 */
export function countTests({ modules, stray, filtered }: Run): { passed: number; failed: number } {
  let passed = 0
  let failed = stray
  for (const file of modules) {
    failed += file.errors().length
    for (const suite of file.children.allSuites()) failed += suite.errors().length
    for (const test of file.children.allTests()) {
      const { state } = test.result()
      if (state === 'passed') passed += 1
      else if (!(filtered && state === 'skipped')) failed += 1
    }
  }
  return passed + failed === 0 ? { passed: 0, failed: 1 } : { passed, failed }
}

/** A vitest reporter that writes `<passed> <failed>` to `file` when the run ends. */
export function summaryReporter(file: string) {
  let filtered = false
  return {
    onInit(vitest: { config: { testNamePattern?: RegExp | undefined } }): void {
      filtered = vitest.config.testNamePattern !== undefined
    },
    onTestRunEnd(modules: readonly Reported[], errors: readonly unknown[]): void {
      const { passed, failed } = countTests({ modules, stray: errors.length, filtered })
      writeFileSync(file, `${passed} ${failed}\n`)
    },
  }
}
