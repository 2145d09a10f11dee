import { rm, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { replaceFile } from '../store/replace-file.ts'
import type { Freshness } from '../../signing/freshness.ts'

/** A statement whose signatures were checked; `tree` is its checkpoint's. */
export type Told = Freshness & { tree: { size: number; root: Uint8Array } }

export type FreshnessDependencies = {
  /** Asks the server for its newest statement, as JSON. Throws `not_fresh` when it does not answer. */
  ask: () => Promise<unknown>
  /** Throws `verification_failed` unless it is signed, whole and of this log. */
  verify: (bundle: unknown) => Promise<Told>
  /** The log as this host reads it now. */
  log: () => Promise<{
    /** Null: it is not that long. */
    beginsWith: (tree: Told['tree']) => boolean | null
    epochOf: (environment: EnvironmentName) => number
  }>
  /** Where the newest statement is kept, and where people find why nothing is started. */
  files: { memory: string; alarm: string }
  host: string
  limitMs: number
  now: () => Date
  logger: Logger
}

export type HostFreshness = {
  /** Throws `not_fresh` unless the server vouched for the log not longer ago than the limit; asks it where needed. */
  demand: () => Promise<void>
  /** Asks again and again until `signal` is aborted; what runs is left alone whatever comes. */
  watch: (signal: AbortSignal) => Promise<void>
}

/** A statement of later than this is of another clock: this host's may be behind, and everything look young. */
const skewMs = 5 * 60_000
const longestPauseMs = 30_000

type Age = { kind: 'fresh' } | { kind: 'none' } | { kind: 'old' | 'ahead'; time: string }

/** How a statement of this time stands to a clock. Pure. */
export function ageOf(time: string | null, now: Date, limitMs: number): Age {
  if (time === null) return { kind: 'none' }
  const ageMs = now.getTime() - Date.parse(time)
  if (ageMs < -skewMs) return { kind: 'ahead', time }
  return ageMs > limitMs ? { kind: 'old', time } : { kind: 'fresh' }
}

/** Why the newest answer was not taken. `signed`: the server itself said it, and it cannot be true here. */
type Trouble = { signed: boolean; message: string }

/** What this host knows of how new its log is, kept over restarts. A host whose memory was wiped must be told anew. */
export async function openFreshness(dependencies: FreshnessDependencies): Promise<HostFreshness> {
  const { limitMs, now } = dependencies
  const alarm = alarmIn(dependencies)
  let held = await readHeld(dependencies)
  let trouble: Trouble | null = null

  const age = () => ageOf(held?.time ?? null, now(), limitMs)
  const isFresh = () => age().kind === 'fresh' && trouble?.signed !== true
  const message = () => messageOf(dependencies, age(), trouble)

  async function look(): Promise<void> {
    let told: Told | null = null
    try {
      const bundle = await dependencies.ask()
      told = await dependencies.verify(bundle)
      await demandTrue(dependencies, told)
      held = await keepNewer(dependencies, { held, told, bundle })
      trouble = null
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      trouble = { signed: told !== null, message: text }
    }
    if (!isFresh()) await alarm.raise(message())
    else if (trouble === null) await alarm.lift()
  }

  return {
    async demand() {
      if (!isFresh()) await look()
      if (isFresh()) return
      throw new KilnError('not_fresh', message(), {
        place: `host ${dependencies.host}`,
        fix: 'see that the server runs, that this host reaches it (KILN_SERVER), and that their clocks agree',
      })
    },
    async watch(signal) {
      while (!signal.aborted) {
        await look().catch((error: unknown) =>
          dependencies.logger.error({ err: error }, 'cannot say why nothing is started'),
        )
        const pauseMs = Math.min(longestPauseMs, limitMs / 4)
        await delay(pauseMs, undefined, { signal }).catch(() => undefined)
      }
    },
  }
}

/** What comes again, or late, is no news. */
async function keepNewer(
  { files }: FreshnessDependencies,
  { held, told, bundle }: { held: Told | null; told: Told; bundle: unknown },
): Promise<Told> {
  if (held !== null && Date.parse(told.time) <= Date.parse(held.time)) return held
  await replaceFile(files.memory, `${JSON.stringify({ version: 1, bundle })}\n`)
  return told
}

/** Throws where the statement contradicts this host's clock or the log that it reads. */
async function demandTrue({ log, now, limitMs }: FreshnessDependencies, told: Told): Promise<void> {
  const { time, tree, epochs } = told
  if (ageOf(time, now(), limitMs).kind === 'ahead') {
    throw new KilnError(
      'verification_failed',
      `the server says that it is ${time}, this host's clock says ${now().toISOString()}`,
    )
  }
  const { beginsWith, epochOf } = await log()
  const begins = beginsWith(tree)
  if (begins === null) {
    throw new KilnError(
      'ledger_forked',
      `the log has ${tree.size} entries, the store that this host reads has fewer`,
    )
  }
  if (!begins)
    throw new KilnError(
      'ledger_forked',
      'the server speaks of another log than the one that this host reads',
    )
  for (const [environment, epoch] of Object.entries(epochs)) {
    const known = epochOf(environment as EnvironmentName)
    if (known < epoch) {
      throw new KilnError(
        'ledger_forked',
        `the server says epoch ${epoch} of ${environment}, the log that this host reads ends at ${known}`,
      )
    }
  }
}

function messageOf(
  { limitMs, host }: FreshnessDependencies,
  age: Age,
  trouble: Trouble | null,
): string {
  const why = trouble === null ? '' : `: ${trouble.message}`
  return `the host ${host} starts nothing, and what runs goes on: ${reasonOf(age, limitMs)}${why}`
}

function reasonOf(age: Age, limitMs: number): string {
  switch (age.kind) {
    case 'none':
      return 'nobody has told it how far the log is'
    case 'old':
      return `it was last told how far the log is at ${age.time}, more than ${limitMs / 1000} s ago`
    case 'ahead':
      return `its clock is behind, it was told how far the log is at ${age.time}`
    case 'fresh':
      return 'what the server says cannot be true here'
  }
}

const heldForm = z.strictObject({ version: z.literal(1), bundle: z.unknown() })

/** Anything but a whole statement counts as none: a new one is soon there. */
async function readHeld({ files, verify, logger }: FreshnessDependencies): Promise<Told | null> {
  try {
    const text = await readFile(files.memory, 'utf8').catch(() => null)
    return text === null ? null : await verify(heldForm.parse(JSON.parse(text)).bundle)
  } catch (error) {
    logger.warn({ err: error }, 'what the server said of the log before cannot be read')
    return null
  }
}

/** For people: a line in the log when it begins and ends, and the file that `kiln status` shows. */
function alarmIn({ files, host, now, logger }: FreshnessDependencies) {
  let since: string | null = null
  let said = ''
  return {
    async raise(message: string): Promise<void> {
      if (since === null) logger.error({ alarm: message }, 'ALARM')
      since ??= now().toISOString()
      if (said === message) return
      await replaceFile(files.alarm, `${JSON.stringify({ version: 1, host, since, message })}\n`)
      said = message
    },
    async lift(): Promise<void> {
      if (since !== null) logger.info({ since }, 'the alarm is over')
      since = null
      said = ''
      await rm(files.alarm, { force: true })
    },
  }
}
