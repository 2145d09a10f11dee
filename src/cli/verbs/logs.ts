import { Option } from 'commander'
import type { Client } from '../../api/client.ts'
import { isLabel } from '../../domain/name.ts'
import { findPlace, placeOf } from '../names.ts'
import { clean } from '../text.ts'
import { wholeNumber } from './paging.ts'
import type { Verb } from './verb.ts'

export const logs: Verb = (program, run) => {
  program
    .command('logs <environment|build>')
    .description("the instances' last lines, or a build's log")
    .addOption(
      new Option('--tail <lines>', 'how many lines').default(200).argParser(wholeNumber(1, 10_000)),
    )
    .action(
      run<{ tail: number }>(async (session, { args: [what = ''], options: { tail } }) => {
        const kiln = await session.cli.connect()
        const text = clean(await read(kiln, what, tail))
        const lines = text.replace(/\n$/, '').split('\n')
        if (session.json) for (const line of lines) session.output.document({ line })
        else for (const line of lines) session.output.data(line)
      }),
    )
}

/** A name with a slash or a plain one is an environment; ids of builds have a dot or a colon. */
async function read(kiln: Client, what: string, tail: number): Promise<string> {
  if (!what.includes('/') && !isLabel(what)) {
    return kiln.buildLog({ params: { id: what }, query: { tail } })
  }
  return kiln.instanceLogs({ params: placeOf(await findPlace(kiln, what)), query: { tail } })
}
