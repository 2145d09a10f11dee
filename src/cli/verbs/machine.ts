import type { AnswerOf } from '../../api/contract.ts'
import { errors, KilnError } from '../../domain/error.ts'
import type { LocalProcess, LocalStatus, Prerequisite } from '../local-port.ts'
import type { Session } from '../session.ts'
import { cleanLine } from '../text.ts'
import type { Verb } from './verb.ts'

/** Start, stop and look at Kiln on this machine. */
export const machine: Verb = (program, run) => {
  program
    .command('up')
    .description("start Kiln's processes on this machine and wait until they are ready")
    .action(
      run(async (session) => {
        const local = await session.cli.local()
        const status = await local.up(session.output.talk)
        await session.print(status, () => processes(session, status.processes))
        session.output.talk(status.already ? 'everything runs already' : 'ready')
        tellLowDisk(session, status)
        session.output.talk('  stop it: kiln down')
      }),
    )
  program
    .command('down')
    .description('stop them, the edge included; instances stay for the next up')
    .action(
      run(async (session) => {
        const local = await session.cli.local()
        const answer = await local.down(session.output.talk)
        await session.print(answer, () => {
          for (const name of answer.stopped) session.output.data(name)
        })
      }),
    )
  program
    .command('status')
    .description('what runs; exit 3 when nothing does')
    .action(
      run(async (session) => {
        const local = await (await session.cli.local()).status()
        const server = await serverStatus(session)
        await session.print({ ...local, server }, () => showStatus(session, local, server))
        return local.running || server !== null ? 0 : errors.not_running.exit
      }),
    )
  program
    .command('doctor')
    .description('each prerequisite: found, wanted, and how to mend it; exit 3 when one is missing')
    .action(
      run(async (session) => {
        const checks = await (await session.cli.local()).doctor()
        await session.print({ checks }, () => prerequisites(session, checks))
        return checks.some(({ state }) => state === 'missing')
          ? errors.prerequisite_missing.exit
          : 0
      }),
    )
}

type ServerStatus = AnswerOf<'status'>

/** Null when no server answers: then there is only what this machine says. */
async function serverStatus(session: Session): Promise<ServerStatus | null> {
  try {
    const kiln = await session.cli.connect()
    return await kiln.status({})
  } catch (error) {
    if (error instanceof KilnError && error.code === 'not_running') return null
    throw error
  }
}

async function showStatus(
  session: Session,
  local: LocalStatus,
  server: ServerStatus | null,
): Promise<void> {
  await processes(session, local.processes)
  if (local.hostAlarm !== null)
    session.output.talk(
      cleanLine(`ALARM since ${local.hostAlarm.since}: ${local.hostAlarm.message}`),
    )
  tellLowDisk(session, local)
  session.output.talk(guardLines[local.guard])
  for (const line of refusalLines(local.refusals)) session.output.talk(cleanLine(line))
  if (server === null) return session.output.talk(`no Kiln runs in ${local.home}: kiln up`)
  const versions = Object.entries(server.versions).map(([name, version]) => `${name} ${version}`)
  session.output.talk(`kiln ${server.version}; ${versions.join(', ')}`)
  session.output.talk(`ledger ${server.ledger.origin}: ${server.ledger.size} entries`)
  for (const { environment, message } of server.alarms)
    session.output.talk(cleanLine(`ALARM ${environment}: ${message}`))
  for (const line of entranceLines(server.entrance, session.cli.now())) session.output.talk(line)
}

const guardLines = {
  'in place': 'guard: in place',
  absent: 'guard: none, whoever reaches the engine may enter instances (docs/guard.md)',
  unknown: 'guard: unknown, the engine does not answer',
} as const satisfies Record<LocalStatus['guard'], string>

/** How many refusals are told; `--json` has more, and the guard's log all. */
const told = 3

function refusalLines(refusals: LocalStatus['refusals']): string[] {
  if (refusals === null) return []
  if (refusals === 'unreadable')
    return ['  what it refused cannot be read: journalctl -u kiln-guard']
  const { since, total, newest } = refusals
  return [
    `  refused ${total} since ${since.slice(0, 10)}; the last (all: journalctl -u kiln-guard):`,
    ...newest
      .slice(0, told)
      .map(
        (one) =>
          `  ${one.time} ${one.user || 'somebody'} by ${one.client || 'no name'}: ${one.message}`,
      ),
  ]
}

/** Nothing stops for it, so it has to be said where people look. */
function tellLowDisk(session: Session, { lowDisk }: LocalStatus): void {
  if (lowDisk === null) return
  session.output.talk(cleanLine(`ALARM low disk: ${lowDisk.message}`))
  session.output.talk('  no build, promotion, scale or rotation begins; what runs goes on')
  session.output.talk(cleanLine(`  next: ${lowDisk.fix}`))
}

const warnBeforeMs = 14 * 86_400_000

/** Where routes are reached, and what a person must know of its certificates. */
function entranceLines(
  { address, tls, certificates }: ServerStatus['entrance'],
  now: Date,
): string[] {
  return [
    `entrance ${[address, ...(tls === null ? [] : [tls])].join(', ')}`,
    ...certificates.map((one) => `  certificate ${one.name}: ${certificateState(one, now)}`),
  ]
}

type Certificate = ServerStatus['entrance']['certificates'][number]

function certificateState({ expires, fault }: Certificate, now: Date): string {
  const served = expires === null ? 'none is served' : `valid until ${expires.slice(0, 10)}`
  if (fault !== null) return `${served}; REFUSED ${fault.rule}: ${fault.message}; ${fault.fix}`
  const soon = expires !== null && new Date(expires).getTime() - now.getTime() < warnBeforeMs
  return soon ? `${served}; WARNING: renew it` : served
}

function processes(session: Session, items: readonly LocalProcess[]): Promise<void> {
  return session.output.table(
    ['process', 'state', 'pid', 'restarts', 'address', 'log'],
    items.map(({ name, state, pid, restarts, address, log }) => [
      name,
      state,
      pid === null ? '-' : String(pid),
      String(restarts),
      address ?? '-',
      log ?? '-',
    ]),
  )
}

async function prerequisites(session: Session, checks: readonly Prerequisite[]): Promise<void> {
  await session.output.table(
    ['prerequisite', 'state', 'found', 'wanted', 'fix'],
    checks.map(({ name, state, found, wanted, fix }) => [name, state, found, wanted, fix ?? '']),
  )
}
