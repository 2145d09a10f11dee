import { KilnError } from '../../domain/error.ts'
import { findPlace, placeOf } from '../names.ts'
import { begin, reasonOf, withChange, type ChangeOptions } from './changes.ts'
import type { Verb } from './verb.ts'

export const scale: Verb = (program, run) => {
  withChange(program.command('scale <environment> <instances>'))
    .description('change how many instances run, within what kiln.yaml allows')
    .action(
      run<ChangeOptions>(async (session, { args: [where = '', count = ''], options }) => {
        if (!/^[0-9]{1,4}$/.test(count)) {
          throw new KilnError(
            'invalid_input',
            `not a number of instances: ${JSON.stringify(count)}`,
          )
        }
        const kiln = await session.cli.connect()
        const params = placeOf(await findPlace(kiln, where))
        const body = { instances: Number(count), ...reasonOf(options) }
        return begin(session, options, {
          kiln,
          start: (call) => kiln.scale({ params, body }, call),
        })
      }),
    )
}
