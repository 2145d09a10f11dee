import { CommanderError } from 'commander'
import type { Cli } from './context.ts'
import { Declined } from './ask.ts'
import { failureOf, showFailure } from './failure.ts'
import { exitOfError } from './outcome.ts'
import { createOutput } from './output.ts'
import { createProgram } from './program.ts'

/** Wrong use of the command line. */
const usageExit = 2

/** Runs one command line and returns its exit code. `args` are what follows the program's name. */
export async function runCli(args: readonly string[], cli: Cli): Promise<number> {
  const output = createOutput(cli.io, cli.env)
  const asJson = args.includes('--json')
  let code = 0
  const program = createProgram(cli, output, (exit) => {
    code = exit
  })
  try {
    await program.parseAsync([...args], { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0
      if (asJson) output.document({ error: usage(error) })
      return usageExit
    }
    if (error instanceof Declined) {
      output.talk(error.message)
      return error.exit
    }
    const failure = failureOf(error)
    if (asJson) output.document({ error: failure })
    showFailure(output, failure, failure.fix)
    return exitOfError(error)
  }
}

function usage({ message }: CommanderError) {
  return { code: 'invalid_input', message, place: null, fix: 'kiln --help', lines: [] }
}
