import { findPlace, placeOf } from '../names.ts'
import { begin, reasonOf, withChange, type ChangeOptions } from './changes.ts'
import type { Verb } from './verb.ts'

export const release: Verb = (program, run) => {
  withChange(program.command('release <environment>'))
    .description('lift the hold that a rollback set: automatic promotion goes on')
    .action(
      run<ChangeOptions>(async (session, { args: [where = ''], options }) => {
        const kiln = await session.cli.connect()
        const params = placeOf(await findPlace(kiln, where))
        const body = reasonOf(options)
        return begin(session, options, {
          kiln,
          start: (call) => kiln.release({ params, body }, call),
        })
      }),
    )
}
