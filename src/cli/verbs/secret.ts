import { findPlace, placeOf } from '../names.ts'
import { begin, reasonOf, withChange, type ChangeOptions } from './changes.ts'
import type { Verb } from './verb.ts'

/** Secrets by reference; no command shows or takes a value. */
export const secret: Verb = (program, run) => {
  const family = program.command('secret').description("environments' secrets, by reference")
  family
    .command('list <environment>')
    .description('its references, and whether its host has what they name; never a value')
    .action(
      run(async (session, { args: [where = ''] }) => {
        const kiln = await session.cli.connect()
        const answer = await kiln.secrets({ params: placeOf(await findPlace(kiln, where)) })
        await session.print(answer, () =>
          session.output.table(
            ['secret', 'reference', 'on the host', 'why not', 'fix'],
            answer.items.map(({ name, reference, resolves, problem, fix }) => [
              name,
              reference,
              resolves ? 'yes' : 'no',
              problem ?? '-',
              fix ?? '-',
            ]),
          ),
        )
      }),
    )
  withChange(family.command('rotate <environment>'))
    .description('replace all instances, so that they get the secrets that the host has now')
    .action(
      run<ChangeOptions>(async (session, { args: [where = ''], options }) => {
        const kiln = await session.cli.connect()
        const params = placeOf(await findPlace(kiln, where))
        return begin(session, options, {
          kiln,
          start: (call) => kiln.rotate({ params, body: reasonOf(options) }, call),
        })
      }),
    )
}
