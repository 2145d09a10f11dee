import type { Verb } from './verb.ts'

/** The second lock on the engine that runs instances. */
export const guard: Verb = (program, run) => {
  program
    .command('guard')
    .description(
      "dockerd's authorization plugin: keeps everybody out of instances; runs until ended",
    )
    .option('--socket <path>', 'where the engine finds it: /run/docker/plugins/<name>.sock')
    .action(
      run<{ socket?: string }>(async (session, { options }) => {
        const local = await session.cli.local()
        const { ended, ...report } = await local.guard(options.socket)
        await session.print(report, () => session.output.data(report.socket))
        session.output.talk(`guards the instances of host ${report.host} in ${report.engine}`)
        await ended
      }),
    )
}
