import pino from 'pino'
import { demandRestored } from './backup/demand-restored.ts'
import { loadConfig } from './config.ts'
import { processesOf } from './processes.ts'
import { superviseUntilSignalled } from './supervisor/run.ts'

// The supervisor's own process, which `kiln up` starts in the background.
const config = loadConfig(process.env, process.cwd())
process.umask(0o077)
demandRestored(config.paths)
process.exitCode = await superviseUntilSignalled({
  processes: processesOf(config, process.env),
  paths: config.paths,
  logger: pino({ name: 'supervisor', level: config.logLevel }),
  clock: { now: () => new Date() },
})
