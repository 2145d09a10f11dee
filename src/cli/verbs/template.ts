import type { LocalVerbs } from '../local-port.ts'
import type { Session } from '../session.ts'
import type { Verb } from './verb.ts'
import { shortDigest } from '../../domain/digest.ts'

type Summary = Awaited<ReturnType<LocalVerbs['templates']>>[number]

/** Templates and their locks; all of it happens on this machine. */
export const template: Verb = (program, run) => {
  const family = program.command('template').description('templates and their locks')
  family
    .command('list')
    .description('the templates there are')
    .action(
      run(async (session) => {
        const items = await (await session.cli.local()).templates()
        await session.print({ items }, () => summaries(session, items))
      }),
    )
  family
    .command('show <name>')
    .description("one template's locked inputs")
    .action(
      run(async (session, { args: [name = ''] }) => {
        const found = await (await session.cli.local()).template(name)
        await session.print(found, () =>
          session.output.table(
            ['input', 'version', 'size', 'digest'],
            found.entries.map((one) => [
              one.name,
              one.version,
              String(one.size),
              shortDigest(one.digest),
            ]),
          ),
        )
      }),
    )
  family
    .command('lock <name>')
    .description('resolve every input and write template.lock')
    .action(
      run(async (session, { args: [name = ''] }) => {
        const locked = await (await session.cli.local()).lockTemplate(name, session.output.talk)
        await session.print(locked, () => {
          for (const change of locked.changes) session.output.talk(`  ${change}`)
          session.output.data(`${locked.name}\t${locked.lock}`)
        })
      }),
    )
  family
    .command('check <name>')
    .description('check that every input is there, by digest; exit 8 names what differs')
    .action(
      run(async (session, { args: [name = ''] }) => {
        const found = await (await session.cli.local()).checkTemplate(name)
        await session.print(found, () => summaries(session, [found]))
      }),
    )
}

function summaries(session: Session, items: readonly Summary[]): Promise<void> {
  return session.output.table(
    ['template', 'lock', 'inputs'],
    items.map(({ name, lock, inputs }) => [
      name,
      lock === null ? 'not locked' : shortDigest(lock),
      String(inputs),
    ]),
  )
}
