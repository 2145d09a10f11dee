import { bytesInWords } from '../text.ts'
import type { Verb } from './verb.ts'

/** Frees what Kiln made on this machine and can make again. */
export const prune: Verb = (program, run) => {
  program
    .command('prune')
    .description('remove images, caches and logs of Kiln on this machine that nothing needs')
    .option('--dry-run', 'only say what would go')
    .action(
      run<{ dryRun?: boolean }>(async (session, { options }) => {
        const report = await (await session.cli.local()).prune(options.dryRun === true)
        await session.print(report, async () => {
          await session.output.table(
            ['what', 'size', 'name'],
            report.removed.map(({ kind, bytes, name }) => [kind, bytesInWords(bytes), name]),
          )
        })
        const sum = bytesInWords(report.removed.reduce((total, one) => total + one.bytes, 0))
        const did = report.dryRun ? 'would go' : 'are gone'
        session.output.talk(`${report.removed.length} ${did}, at most ${sum} in all`)
        session.output.talk(
          `${bytesInWords(report.free)} free; work begins with ${bytesInWords(report.wanted)}`,
        )
      }),
    )
}
