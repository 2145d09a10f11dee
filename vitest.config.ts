import { defineConfig } from 'vitest/config'
import { summaryReporter } from './scripts/vitest-summary.ts'

const summary = process.env['KILN_TEST_SUMMARY']

export default defineConfig({
  test: {
    // Twice as many as CI has cores: most tests wait for an engine, a server or a disk.
    maxWorkers: 4,
    // A file leaves nothing in its process, so the next one need not load all modules anew.
    isolate: false,
    // scripts/test.sh names the file; a run by hand has no use for it.
    reporters: summary === undefined ? ['default'] : ['default', summaryReporter(summary)],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          // Each file has a Kiln of its own, with its own ports and names; two of them leave little idle.
          maxWorkers: 2,
          testTimeout: 600_000,
          hookTimeout: 600_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
