import { Command, Option } from 'commander'
import { KilnError } from '../domain/error.ts'
import type { Cli, Env } from './context.ts'
import type { Output } from './output.ts'
import { progressModes, type ProgressMode } from './progress.ts'
import { createSession } from './session.ts'
import { audit } from './verbs/audit.ts'
import { breakGlass } from './verbs/break-glass.ts'
import { build } from './verbs/build.ts'
import { environments } from './verbs/environments.ts'
import { gc } from './verbs/gc.ts'
import { guard } from './verbs/guard.ts'
import { history } from './verbs/history.ts'
import { logs } from './verbs/logs.ts'
import { machine } from './verbs/machine.ts'
import { monitor } from './verbs/monitor.ts'
import { operations } from './verbs/operations.ts'
import { promote } from './verbs/promote.ts'
import { prune } from './verbs/prune.ts'
import { rebuild } from './verbs/rebuild.ts'
import { recovery } from './verbs/recovery.ts'
import { rehearse } from './verbs/rehearse.ts'
import { release } from './verbs/release.ts'
import { repository } from './verbs/repository.ts'
import { revoke } from './verbs/revoke.ts'
import { rollback } from './verbs/rollback.ts'
import { scale } from './verbs/scale.ts'
import { scan } from './verbs/scan.ts'
import { secret } from './verbs/secret.ts'
import { signing } from './verbs/signing.ts'
import { template } from './verbs/template.ts'
import type { Run, Verb } from './verbs/verb.ts'
import { watch } from './verbs/watch.ts'
import { webhook } from './verbs/webhook.ts'

/** In the order of `kiln --help`. */
const verbs: readonly Verb[] = [
  machine,
  template,
  build,
  rebuild,
  watch,
  repository,
  webhook,
  environments,
  promote,
  rollback,
  rehearse,
  release,
  revoke,
  scale,
  scan,
  secret,
  breakGlass,
  guard,
  prune,
  gc,
  history,
  logs,
  operations,
  signing,
  audit,
  monitor,
  recovery,
]

type Common = { json?: boolean; progress?: ProgressMode }

/**
 * The program, not yet run. `exit` is called with a verb's exit code. Usage errors are thrown as
 * commander's own; nothing is opened or read before a verb runs.
 */
export function createProgram(cli: Cli, output: Output, exit: (code: number) => void): Command {
  const program = new Command('kiln')
    .description('immutable images: build, sign, promote, roll back')
    .version(cli.version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void cli.io.stdout.write(text),
      writeErr: (text) => void cli.io.stderr.write(text),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .configureHelp({ helpWidth: Math.min(100, cli.io.stdout.columns ?? 100) })
    .helpCommand(false)
    .showHelpAfterError('(--help shows how it is used)')
  const run: Run =
    (action) =>
    async (...given) => {
      const command = given.at(-1) as Command
      // A family that does something itself takes options which stand behind its members' names.
      const options = command.optsWithGlobals<Common>()
      const session = createSession(cli, output, {
        json: options.json === true,
        progress: options.progress ?? defaultProgress(cli.env),
      })
      const args = command.processedArgs as string[]
      exit((await action(session, { args, options: options as never })) ?? 0)
    }
  for (const verb of verbs) verb(program, run)
  for (const command of leaves(program)) addCommon(command)
  return program
}

/** Commands that do something; a family may do something itself. */
function leaves(command: Command): Command[] {
  const below = command.commands.flatMap((one) => leaves(one))
  return command.registeredArguments.length > 0 || below.length === 0 ? [command, ...below] : below
}

function addCommon(command: Command): void {
  command
    .option('--json', 'one JSON document, or NDJSON, whose first field is its version')
    .addOption(
      new Option(
        '--progress <how>',
        'how progress is shown, on standard error (KILN_PROGRESS)',
      ).choices(progressModes),
    )
}

/** What KILN_PROGRESS says, else what fits the terminal. */
function defaultProgress(env: Env): ProgressMode {
  const wanted = env['KILN_PROGRESS'] || 'auto'
  const mode = progressModes.find((one) => one === wanted)
  if (mode !== undefined) return mode
  throw new KilnError('invalid_input', `not a way to show progress: ${wanted}`, {
    place: 'KILN_PROGRESS',
    fix: `one of ${progressModes.join(', ')}`,
  })
}
