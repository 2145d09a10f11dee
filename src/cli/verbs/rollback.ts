import type { Client } from '../../api/client.ts'
import type { Digest } from '../../domain/digest.ts'
import { KilnError } from '../../domain/error.ts'
import { confirmChange, nothingToReturnTo, pickTarget } from '../ask.ts'
import { isInteractive } from '../context.ts'
import { findDigest, findPlace, placeOf, type Environment } from '../names.ts'
import type { Session } from '../session.ts'
import { begin, reasonOf, withChange, type ChangeOptions } from './changes.ts'
import type { Verb } from './verb.ts'

type Options = ChangeOptions & { to?: string; previous?: boolean }

export const rollback: Verb = (program, run) => {
  withChange(program.command('rollback <environment>'))
    .description('return to an earlier good artifact; on a terminal you pick from a list')
    .option('--to <digest>', 'the artifact to return to')
    .option('--previous', 'the one that was active before')
    .action(
      run<Options>(async (session, { args: [where = ''], options }) => {
        checkChoice(session, where, options)
        const kiln = await session.cli.connect()
        const params = placeOf(await findPlace(kiln, where))
        const environment = await kiln.environment({ params })
        const to = await chooseTarget({ session, kiln, environment }, options)
        const body = { ...(to === null ? {} : { to }), ...reasonOf(options) }
        return begin(session, options, {
          kiln,
          start: (call) => kiln.rollback({ params, body }, call),
        })
      }),
    )
}

function checkChoice({ cli }: Session, where: string, { to, previous }: Options): void {
  if (to !== undefined && previous === true) {
    throw new KilnError('invalid_input', '--to and --previous exclude each other')
  }
  if (to === undefined && previous !== true && !isInteractive(cli.io)) {
    throw new KilnError(
      'invalid_input',
      'without a terminal, say where to: --to <digest> or --previous',
      {
        place: 'rollback',
        fix: `kiln rollback ${where} --previous`,
      },
    )
  }
}

type Choosing = { session: Session; kiln: Client; environment: Environment }

/** Null: what the active key names; the server decides it on the facts of that moment. */
async function chooseTarget(
  { session, kiln, environment }: Choosing,
  { to, previous, yes = false }: Options,
): Promise<Digest | null> {
  const { items } = await kiln.rollbackTargets({ params: placeOf(environment) })
  if (to === undefined && previous !== true) {
    return (await pickTarget(session, environment, items)).digest
  }
  const digest = to === undefined ? environment.rollbackTo?.digest : await findDigest(kiln, to)
  if (digest === undefined) throw nothingToReturnTo(environment)
  const known = items.find((one) => one.digest === digest)
  const change = {
    verb: 'rollback',
    environment,
    to: known ?? { digest, commit: '', subject: '' },
  } as const
  await confirmChange(session, change, yes)
  return to === undefined ? null : digest
}
