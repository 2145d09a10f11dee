import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { z } from 'zod'
import type { Refusals } from '../cli/local-port.ts'
import type { Refused } from '../runtime/guard/server.ts'
import { errnoOf } from '../store/disk-error.ts'
import { replaceFile } from '../store/replace-file.ts'

/** How many of the newest are kept whole; of the others, their number. Whoever reaches the engine may cause them. */
const newestKept = 20
/** Between two writes: a flood of refusals is not one of writes. */
const pauseMs = 1000

const form = z.strictObject({
  version: z.literal(1),
  since: z.iso.datetime(),
  total: z.int().nonnegative(),
  newest: z.array(
    z.strictObject({
      time: z.iso.datetime(),
      rule: z.string(),
      message: z.string(),
      container: z.string().nullable(),
      environment: z.string().nullable(),
      method: z.string(),
      path: z.string(),
      user: z.string(),
      client: z.string(),
    }),
  ),
})

/** What the guard of this home refused; null: nothing yet, `unreadable`: nobody can tell. */
export async function readRefusals(path: string): Promise<Refusals | null | 'unreadable'> {
  try {
    const { since, total, newest } = form.parse(JSON.parse(await readFile(path, 'utf8')))
    return { since, total, newest }
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? null : 'unreadable'
  }
}

/**
 * Logs each refusal, and keeps their number and the newest of them in a file of bounded size, for people who
 * look at the machine. A file that cannot be written is logged and keeps nothing from being refused.
 */
export async function openRefusals(
  path: string,
  { logger, now }: { logger: Logger; now: () => Date },
): Promise<{ note: (refused: Refused) => void; close: () => Promise<void> }> {
  const found = await readRefusals(path)
  if (found === 'unreadable') logger.warn({ path }, 'what was refused before cannot be read')
  let kept: Refusals =
    found === null || found === 'unreadable'
      ? { since: now().toISOString(), total: 0, newest: [] }
      : found
  let written = kept
  let writing: Promise<void> | null = null
  const closing = new AbortController()

  async function write(): Promise<void> {
    while (written !== kept) {
      written = kept
      await save(path, kept).catch((error: unknown) => {
        logger.warn({ err: error }, 'what was refused is in this log alone')
      })
      await delay(pauseMs, undefined, { signal: closing.signal, ref: false }).catch(() => undefined)
    }
    writing = null
  }

  return {
    note(refused) {
      const { message, ...about } = refused
      logger.warn(about, message)
      const newest = [{ time: now().toISOString(), ...refused }, ...kept.newest]
      kept = { ...kept, total: kept.total + 1, newest: newest.slice(0, newestKept) }
      writing ??= write()
    },
    async close() {
      closing.abort()
      await writing
    },
  }
}

/** A home that is not there yet is left to who makes it. */
async function save(path: string, refusals: Refusals): Promise<void> {
  await mkdir(dirname(path), { mode: 0o700 }).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error
  })
  await replaceFile(path, `${JSON.stringify({ version: 1, ...refusals }, null, 2)}\n`)
}
