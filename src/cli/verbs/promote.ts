import type { Client } from '../../api/client.ts'
import type { Digest } from '../../domain/digest.ts'
import { KilnError } from '../../domain/error.ts'
import { parseEnvironmentName } from '../../domain/name.ts'
import { confirmChange } from '../ask.ts'
import { findDigest, findPlace, placeOf, type Environment } from '../names.ts'
import { begin, reasonOf, withChange, type ChangeOptions } from './changes.ts'
import type { Verb } from './verb.ts'

export const promote: Verb = (program, run) => {
  withChange(program.command('promote <environment> [digest]'))
    .description('make a digest active; without one, what the previous environment has active')
    .action(
      run<ChangeOptions>(async (session, { args: [where = '', text], options }) => {
        const kiln = await session.cli.connect()
        const params = await findPlace(kiln, where)
        const environment = await kiln.environment({ params: placeOf(params) })
        const digest =
          text === undefined ? await digestBefore(kiln, environment) : await findDigest(kiln, text)
        if (environment.active?.digest !== digest) {
          const to = await kiln.artifact({ params: { digest } })
          const change = { verb: 'promote', environment, to } as const
          await confirmChange(session, change, options.yes === true)
        }
        const body = { digest, ...reasonOf(options) }
        return begin(session, options, {
          kiln,
          start: (call) => kiln.promote({ params: placeOf(params), body }, call),
        })
      }),
    )
}

async function digestBefore(kiln: Client, { name, previous }: Environment): Promise<Digest> {
  if (previous === null) {
    throw new KilnError('invalid_input', `${name} is the first of its pipeline: say which digest`, {
      fix: `kiln promote ${name} <digest>`,
    })
  }
  const { active } = await kiln.environment({ params: placeOf(parseEnvironmentName(previous)) })
  if (active === null) {
    throw new KilnError('refused', `nothing is active in ${previous}`, {
      fix: `kiln promote ${previous} <digest>`,
    })
  }
  return active.digest
}
