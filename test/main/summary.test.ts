import { expect, test } from 'vitest'
import { countTests } from '../../scripts/vitest-summary.ts'

function repeat(length = 0): unknown[] {
  return Array.from({ length }, () => 'error')
}

function file(states: readonly string[], errors: { file?: number; suite?: number } = {}) {
  return {
    state: () => 'passed',
    errors: () => repeat(errors.file),
    children: {
      allTests: () => states.map((state) => ({ result: () => ({ state }) })),
      allSuites: () => [{ errors: () => repeat(errors.suite) }],
    },
  }
}

test.each([
  ['tests that passed and failed', { modules: [file(['passed', 'failed'])] }, [1, 1]],
  ['a file that did not load', { modules: [file(['passed']), file([], { file: 1 })] }, [1, 1]],
  ['a hook that threw', { modules: [file(['passed'], { suite: 1 })] }, [1, 1]],
  ['a stray error', { modules: [file(['passed'])], stray: 1 }, [1, 1]],
  ['a skipped test', { modules: [file(['passed', 'skipped'])] }, [1, 1]],
  ['a test that never ended', { modules: [file(['passed', 'pending'])] }, [1, 1]],
  ['tests left out by a name', { modules: [file(['passed', 'skipped'])], filtered: true }, [1, 0]],
  ['nothing at all', { modules: [] }, [0, 1]],
  ['nothing that ran', { modules: [file(['skipped'])], filtered: true }, [0, 1]],
])('the closing line counts %s', (_what, run, [passed, failed]) => {
  const counted = countTests({ stray: 0, filtered: false, ...run })
  expect(counted).toEqual({ passed, failed })
})
