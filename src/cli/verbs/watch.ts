import type { AnswerOf } from '../../api/contract.ts'
import { KilnError } from '../../domain/error.ts'
import type { Session } from '../session.ts'
import { ago } from '../text.ts'
import { repositoryOf } from './build.ts'
import type { Verb } from './verb.ts'

type Watch = AnswerOf<'watches'>['items'][number]

export const watch: Verb = (program, run) => {
  const family = program
    .command('watch [repository]')
    .description('poll branches of a repository and build each new commit once')
    .option('--branch <name...>', 'which branches (main)')
    .action(
      run<{ branch?: string[] }>(async (session, { args: [repository], options: { branch } }) => {
        if (repository === undefined) {
          throw new KilnError('invalid_input', 'say which repository', {
            fix: 'kiln watch <repository>, or kiln watch list',
          })
        }
        const kiln = await session.cli.connect()
        const body = {
          repository: repositoryOf(repository, session.cli.folder),
          ...(branch === undefined ? {} : { branches: branch }),
        }
        const answer = await kiln.startWatch({ body })
        await session.print(answer, () => session.output.data(answer.watch.id))
      }),
    )
  family
    .command('list')
    .description('the repositories that are polled')
    .action(
      run(async (session) => {
        const kiln = await session.cli.connect()
        const answer = await kiln.watches({})
        await session.print(answer, () => list(session, answer.items))
      }),
    )
  family
    .command('remove <watch>')
    .description('stop polling')
    .action(
      run(async (session, { args: [id = ''] }) => {
        const kiln = await session.cli.connect()
        const answer = await kiln.stopWatch({ params: { id } })
        await session.print(answer, () => session.output.data(answer.watch.id))
      }),
    )
}

function list(session: Session, items: readonly Watch[]): Promise<void> {
  const now = session.cli.now()
  return session.output.table(
    ['id', 'repository', 'branches', 'last commit', 'since', 'note'],
    items.map((one) => [
      one.id,
      one.repository,
      one.branches.join(' '),
      one.lastCommit?.slice(0, 12) ?? '-',
      ago(one.since, now),
      one.failure === null ? '' : `FAILED: ${one.failure.code} ${one.failure.message}`,
    ]),
  )
}
