import { setTimeout as delay } from 'node:timers/promises'
import { errors, KilnError } from '../../domain/error.ts'
import type { MonitorReport, MonitorRequest } from '../local-port.ts'
import type { Session } from '../session.ts'
import { cleanLine, parseDuration } from '../text.ts'
import type { Verb } from './verb.ts'

type Options = { key?: string; state?: string; watch?: boolean; every?: string }

/** Watches a log from outside: somebody who was there before says loudly when history changed. */
export const monitor: Verb = (program, run) => {
  program
    .command('monitor [address]')
    .description('remember a log and check that it only grew; exit 8 when history changed')
    .option('--key <key>', "the log's verifier key or its file, instead of what was seen first")
    .option('--state <file>', 'where it is remembered what was seen')
    .option('--watch', 'look again and again, until history changed')
    .option('--every <time>', 'how often, such as 30s or 5m; means --watch')
    .action(
      run<Options>(async (session, { args: [address], options }) => {
        const { key, state, every } = options
        const request: MonitorRequest = {
          ...(address === undefined ? {} : { address }),
          ...(key === undefined ? {} : { key }),
          ...(state === undefined ? {} : { state }),
        }
        if (options.watch !== true && every === undefined) return look(session, request)
        return watch(session, request, every === undefined ? 60_000 : parseDuration(every))
      }),
    )
}

async function look(session: Session, request: MonitorRequest): Promise<number> {
  const report = await (await session.cli.local()).monitor(request)
  await session.print(report, () => say(session, report))
  return report.kind === 'intact' ? 0 : errors.ledger_forked.exit
}

/** An outage ends nothing: what changes a history may well begin with one. */
async function watch(session: Session, request: MonitorRequest, everyMs: number): Promise<number> {
  for (;;) {
    try {
      const code = await look(session, request)
      if (code !== 0) return code
    } catch (error) {
      if (!(error instanceof KilnError) || error.code !== 'not_running') throw error
      session.output.talk(cleanLine(`${session.cli.now().toISOString()} ${error.message}`))
    }
    await delay(everyMs)
  }
}

function say({ output }: Session, report: MonitorReport): void {
  const { origin, address, state } = report
  if (report.kind === 'intact') {
    const { size, root, fresh, seenSize, pinned } = report
    output.data(`${origin}\t${size}\t${root}`)
    if (seenSize === null) {
      output.talk(`seen for the first time: all ${size} entries checked, remembered in ${state}`)
      if (!pinned)
        output.talk("  its key is what it said itself: compare it with the owner's (--key)")
    } else
      output.talk(`only grew: ${fresh} new entries checked, the ${seenSize} of before are there`)
    return
  }
  const { change, message, seen, note } = report
  output.data(`${origin}\tCHANGED\t${change}`)
  output.talk(cleanLine(`HISTORY CHANGED at ${address}: ${change}: ${message}`))
  output.talk('  believe nothing that this log says, and keep what follows: it is the proof')
  output.talk(`  seen before (${state}): ${JSON.stringify(seen)}`)
  output.talk(`  shown now: ${JSON.stringify(note)}`)
}
