import packageFile from '../../package.json' with { type: 'json' }
import { findConnection, homeOf } from '../cli/connection.ts'
import type { Cli } from '../cli/context.ts'
import { runCli } from '../cli/main.ts'

const { env, argv, stdin, stdout, stderr } = process
const folder = process.cwd()
const home = homeOf(env, folder)

const cli: Cli = {
  io: { stdin, stdout, stderr },
  env,
  folder,
  version: packageFile.version,
  now: () => new Date(),
  onInterrupt: (handler) => {
    process.on('SIGINT', handler)
    return () => process.off('SIGINT', handler)
  },
  connect: async () => {
    const { client } = await import('../api/client.ts')
    return client(await findConnection(env, home))
  },
  local: async () => {
    const { createLocalVerbs } = await import('./local.ts')
    return createLocalVerbs({ home, env })
  },
}

// Whoever reads our output may stop reading, as `| head` does.
stdout.on('error', () => process.exit(0))
process.exitCode = await runCli(argv.slice(2), cli)
