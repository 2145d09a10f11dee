import { pino } from 'pino'
import { superviseUntilSignalled } from '../../../src/main/supervisor/run.ts'
import { describe, type Layout } from './scratch.ts'

// A supervisor process of its own, so that a test can kill it. Its first argument is a layout as JSON.
const layout = JSON.parse(process.argv[2] ?? '') as Layout
process.exitCode = await superviseUntilSignalled({
  processes: layout.all.map((orders) => describe(orders)),
  paths: layout.paths,
  logger: pino(),
  clock: { now: () => new Date() },
})
