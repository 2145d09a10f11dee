import type { Operation } from '../../domain/operation.ts'
import type { Session } from '../session.ts'
import { ago } from '../text.ts'
import { begin, withWork, type WorkOptions } from './changes.ts'
import { limitOption, pageOf, sayMore, type PageOptions } from './paging.ts'
import type { Verb } from './verb.ts'

/** Follow, cancel and list long work. */
export const operations: Verb = (program, run) => {
  program
    .command('operations [id]')
    .description('list what was asked for, newest first, or show one')
    .addOption(limitOption())
    .option('--cursor <cursor>', 'go on where an earlier page ended')
    .action(
      run<PageOptions>(async (session, { args: [id], options }) => {
        const kiln = await session.cli.connect()
        if (id !== undefined)
          return show(session, (await kiln.operation({ params: { id } })).operation)
        const page = await kiln.operations({ query: pageOf(options) })
        await session.print(page, () => list(session, page.items))
        sayMore(session, page.next)
      }),
    )
  withWork(program.command('follow <operation>'))
    .description('watch long work to its end; Ctrl-C leaves it running')
    .action(
      run<WorkOptions>(async (session, { args: [id = ''], options }) => {
        const kiln = await session.cli.connect()
        return begin({ ...session, stream: session.json }, options, {
          kiln,
          start: () => kiln.operation({ params: { id } }),
        })
      }),
    )
  program
    .command('cancel <operation>')
    .description('ask long work to stop; what already has effects is brought to one end')
    .action(
      run(async (session, { args: [id = ''] }) => {
        const kiln = await session.cli.connect()
        const { operation } = await kiln.cancel({ params: { id } })
        await session.print({ operation }, () => session.output.data(`${id}\t${operation.state}`))
      }),
    )
}

async function show(session: Session, operation: Operation): Promise<void> {
  await session.print({ operation }, async () => {
    await list(session, [operation])
    await session.output.table(
      ['step', 'state', 'attempt', 'detail'],
      operation.steps.map(({ name, state, attempt, detail }) => [
        name,
        state,
        String(attempt),
        detail ?? '',
      ]),
    )
    const { failure } = operation
    if (failure !== null)
      for (const line of [`${failure.code}: ${failure.message}`, ...failure.lines])
        session.output.talk(line)
  })
}

function list(session: Session, items: readonly Operation[]): Promise<void> {
  const now = session.cli.now()
  return session.output.table(
    ['id', 'kind', 'subject', 'state', 'by', 'asked'],
    items.map(({ id, kind, subject, state, requestedBy, requestedAt }) => [
      id,
      kind,
      subject,
      state,
      requestedBy,
      ago(requestedAt, now),
    ]),
  )
}
