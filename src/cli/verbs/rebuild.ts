import { findDigest } from '../names.ts'
import { begin, withWork, type WorkOptions } from './changes.ts'
import type { Verb } from './verb.ts'

export const rebuild: Verb = (program, run) => {
  withWork(program.command('rebuild <digest>'))
    .description('build an artifact again from its record and compare; exit 8 names what differs')
    .action(
      run<WorkOptions>(async (session, { args: [text = ''], options }) => {
        const kiln = await session.cli.connect()
        const body = { digest: await findDigest(kiln, text) }
        return begin(session, options, { kiln, start: (call) => kiln.startRebuild({ body }, call) })
      }),
    )
}
