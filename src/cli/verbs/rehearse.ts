import { findPlace, placeOf } from '../names.ts'
import { begin, withWork, type WorkOptions } from './changes.ts'
import type { Verb } from './verb.ts'

/** Is the way back open? Nothing that serves is touched. */
export const rehearse: Verb = (program, run) => {
  withWork(program.command('rehearse <environment>'))
    .description('prove that the rollback target can still be pulled, verified and started, aside')
    .action(
      run<WorkOptions>(async (session, { args: [where = ''], options }) => {
        const kiln = await session.cli.connect()
        const params = placeOf(await findPlace(kiln, where))
        return begin(session, options, { kiln, start: (call) => kiln.rehearse({ params }, call) })
      }),
    )
}
