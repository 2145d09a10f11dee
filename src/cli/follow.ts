import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../api/client.ts'
import { KilnError } from '../domain/error.ts'
import { parseEnvironmentName } from '../domain/name.ts'
import { hasEnded, type Operation } from '../domain/operation.ts'
import { showFailure } from './failure.ts'
import { detachedExit, exitOf, fields, nextCommand, reached, sentence } from './outcome.ts'
import { createProgress, type Progress } from './progress.ts'
import type { Session } from './session.ts'
import { ago, cleanLine } from './text.ts'
import { shortDigest } from '../domain/digest.ts'

/** How long to watch: not at all, to the end, or so many milliseconds. */
export type Wait = 'no' | 'end' | number

/** Reconnections in a row, without a snapshot between them, before giving up. */
const patience = 20

type Ending = 'ended' | 'detached' | 'timeout'

/**
 * Watches an operation and says how it ended. Ctrl-C leaves it running, and says so. Returns the exit
 * code. A connection that breaks is taken up again after the last snapshot seen.
 */
export async function follow(
  session: Session,
  kiln: Client,
  { operation, wait }: { operation: Operation; wait: Wait },
): Promise<number> {
  if (wait === 'no') {
    await session.print({ operation }, () => session.output.data(operation.id))
    return 0
  }
  const progress = createProgress(session.progress, session.cli, session.output)
  const { ending, last } = await watch({ session, kiln, progress }, { operation, wait })
  progress.done()
  const exit = await conclude(session, ending, last)
  if (exit === 0) await sayAddress({ session, kiln, progress }, last)
  return exit
}

type Watching = { session: Session; kiln: Client; progress: Progress }

async function watch(
  watching: Watching,
  { operation, wait }: { operation: Operation; wait: Exclude<Wait, 'no'> },
): Promise<{ ending: Ending; last: Operation }> {
  const { session, progress } = watching
  const stop = new AbortController()
  const forget = session.cli.onInterrupt(() => stop.abort('detached'))
  const timer = wait === 'end' ? undefined : setTimeout(() => stop.abort('timeout'), wait)
  const idle = setInterval(() => progress.idle(), progress.idleMs)
  const seen = { id: 0, operation }
  try {
    await sayWhoIsBefore(watching, operation)
    for (let failures = 0; failures < patience; failures += 1) {
      const before = seen.id
      await readEvents(watching, seen, stop.signal)
      if (hasEnded(seen.operation)) return { ending: 'ended', last: seen.operation }
      if (stop.signal.aborted) return { ending: stop.signal.reason as Ending, last: seen.operation }
      if (seen.id > before) failures = 0
      await sleep(Math.min(5000, 250 * 2 ** failures), undefined, { signal: stop.signal }).catch(
        () => undefined,
      )
    }
  } finally {
    forget()
    clearTimeout(timer)
    clearInterval(idle)
  }
  throw new KilnError('not_running', 'the server went away; the work goes on when it is back', {
    fix: `kiln follow ${operation.id}`,
  })
}

/** Reads one connection to its end; only a refusal is thrown, a broken connection is not. */
async function readEvents(
  { session, kiln, progress }: Watching,
  seen: { id: number; operation: Operation },
  signal: AbortSignal,
): Promise<void> {
  try {
    const events = await kiln.events(
      { params: { id: seen.operation.id } },
      { after: seen.id, signal },
    )
    for await (const { id, data } of events) {
      Object.assign(seen, { id, operation: data })
      progress.show(id, data)
      if (session.stream) session.output.document({ event: id, operation: data })
    }
  } catch (error) {
    const refused = error instanceof KilnError && !error.retryable && error.code !== 'not_running'
    if (refused && !signal.aborted) throw error
  }
}

/** A change that waits for another one says whose, since when, and how to watch that. */
async function sayWhoIsBefore({ session, kiln }: Watching, operation: Operation): Promise<void> {
  if (operation.state !== 'queued') return
  const open = (await environmentOf(kiln, operation))?.open ?? null
  if (open === null || open.operation === operation.id) return
  const { requestedBy, kind, digest, since } = open
  session.output.talk(
    cleanLine(
      `${operation.subject} is busy: ${requestedBy}'s ${kind} of ${shortDigest(digest)}, begun ${ago(since, session.cli.now())}; yours waits`,
    ),
  )
  session.output.talk(`  watch it: kiln follow ${open.operation}`)
}

/** Where the environment that was changed can be reached. */
async function sayAddress({ session, kiln }: Watching, operation: Operation): Promise<void> {
  const address = (await environmentOf(kiln, operation))?.address ?? null
  if (address !== null && session.progress !== 'json')
    session.output.talk(`  at ${cleanLine(address)}`)
}

/** The environment that an operation is about; undefined when it is about something else. */
async function environmentOf(kiln: Client, { subject }: Operation) {
  if (!/^[a-z0-9-]+\/[a-z0-9-]+$/.test(subject)) return undefined
  const { app, environment } = parseEnvironmentName(subject)
  return kiln.environment({ params: { app, environment } }).catch(() => undefined)
}

async function conclude(session: Session, ending: Ending, last: Operation): Promise<number> {
  const { output } = session
  if (ending !== 'ended') {
    const why = ending === 'detached' ? 'you left' : 'the wait is over'
    output.talk(`${why}; the work goes on`)
    output.talk(`  watch it: kiln follow ${last.id}`)
    if (last.kind !== 'revocation') output.talk(`  stop it:  kiln cancel ${last.id}`)
    if (!session.stream) await session.print({ operation: last, ending }, () => undefined)
    return ending === 'detached' ? detachedExit : exitOfTimeout
  }
  if (!session.stream) {
    await session.print({ operation: last }, () => showEnd(session, last))
  }
  if (last.failure !== null) showFailure(output, last.failure, nextCommand(last))
  else if (session.cli.io.stdout.isTTY !== true && session.progress !== 'json') {
    output.talk(cleanLine(sentence(last)))
  }
  return exitOf(last)
}

function showEnd({ cli, output }: Session, last: Operation): void | Promise<void> {
  const terminal = cli.io.stdout.isTTY === true
  if (last.kind !== 'revocation')
    return output.data(terminal ? cleanLine(sentence(last)) : fields(last))
  const { by, since, reason } = last.result
  if (since !== undefined)
    output.talk(cleanLine(`denied since ${String(since)} by ${String(by)}: ${String(reason)}`))
  if (Number(last.result['unknown'] ?? 0) > 0)
    output.talk(
      `of ${String(last.result['unknown'])} older artifacts it is not on record what their template stands on: see docs/revoke.md`,
    )
  const rows = reached(last)
  if (rows.length === 0) output.talk('no environment served it')
  return output.table(['environment', 'what became of it'], rows)
}

const exitOfTimeout = 7
