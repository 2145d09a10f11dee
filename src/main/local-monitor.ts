import { mkdir, readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { parseCheckpoint, parseVerifierKey } from '../../signing/checkpoint.ts'
import type { MonitorReport, MonitorRequest } from '../cli/local-port.ts'
import { KilnError } from '../domain/error.ts'
import { watchLog, type PublicLog, type Watched } from '../ledger/monitor.ts'
import { errnoOf } from '../store/disk-error.ts'
import { replaceFile } from '../store/replace-file.ts'

const timeoutMs = 20_000
const maxBytes = 20 * 1024 * 1024

const logForm = z.strictObject({
  origin: z.string(),
  /** The log's verifier key, as it was seen first or given. */
  key: z.string(),
  /** The newest signed note that was seen and found to go on from the one before. */
  checkpoint: z.string(),
  at: z.string(),
  addresses: z.array(z.string()),
})
const stateForm = z.strictObject({ version: z.literal(1), logs: z.array(logForm) })

type Log = z.infer<typeof logForm>

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Looks at a log once, over plain HTTP, as somebody who trusts nobody there: what was seen before is in a
 * file of one's own. A log whose history changed is not taken over into it. Throws `not_running` when
 * nothing answers.
 */
export async function localMonitor(
  { address, key, state }: MonitorRequest,
  { env, standard, now }: { env: Environment; standard: string; now: () => Date },
): Promise<MonitorReport> {
  const asked = address ?? (env['KILN_ADDRESS'] || standard)
  const log = publicLog(baseOf(asked))
  const path = resolve(state ?? stateFile(env))
  const known = await readState(path)
  const pins = await pinsOf(log, { known, asked, key })
  const { origin, key: used, seen } = pins
  const about = { address: asked, origin, state: path, pinned: pins.pinned }
  const watched = await judge(log, used, pins)
  if (watched.kind === 'changed') return { ...about, ...watched, seen: noteOf(seen ?? pins.before) }
  await writeState(path, [
    ...known.filter((one) => one.origin !== origin),
    {
      origin,
      key: used,
      checkpoint: watched.note,
      at: now().toISOString(),
      addresses: withAddress(seen, asked),
    },
  ])
  const { size, root, fresh } = watched
  return { ...about, kind: 'intact', size, root, fresh, seenSize: seen && sizeOf(seen) }
}

type Known = {
  /** What was seen at this address, and of this origin: the same, unless something is wrong. */
  before: Log | null
  seen: Log | null
}

/** The key to judge by: the one that was given, else that of before, else what the log says of itself. */
async function pinsOf(
  log: PublicLog,
  from: { known: readonly Log[]; asked: string; key: string | undefined },
): Promise<Known & { origin: string; key: string; pinned: boolean }> {
  const { known, asked } = from
  const before = known.find(({ addresses }) => addresses.includes(asked)) ?? null
  const given = await readKey(from.key)
  const key = given ?? before?.key ?? (await toldKey(log, asked))
  const { origin } = parseVerifierKey(key)
  const seen = known.find((one) => one.origin === origin) ?? null
  return { before, seen, origin, key, pinned: given !== null || seen !== null }
}

async function judge(log: PublicLog, key: string, known: Known): Promise<Watched> {
  return otherKey(known, key) ?? watchLog(log, parseVerifierKey(key), noteOf(known.seen))
}

function noteOf(log: Log | null): string | null {
  return log === null ? null : log.checkpoint
}

function withAddress(seen: Log | null, address: string): string[] {
  return [...new Set([...(seen?.addresses ?? []), address])]
}

function sizeOf({ checkpoint }: Log): number {
  return parseCheckpoint(checkpoint).checkpoint.size
}

/** A key or an origin that is another than the one of before is the change itself, whatever it signs. */
function otherKey({ before, seen }: Known, used: string): Watched | null {
  const wrong = [before, seen].find((one) => one !== null && one.key !== used) ?? null
  if (wrong === null) return null
  return {
    kind: 'changed',
    change: 'other key',
    message: `the key is ${used}, and was ${wrong.key} at ${wrong.at}`,
    note: null,
  }
}

/** Of a server's address the log below it; an address with a path is the log's own. */
function baseOf(address: string): string {
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    throw new KilnError('invalid_input', `not an address: ${address}`, {
      fix: 'write it as http://127.0.0.1:<port>',
    })
  }
  const url = new URL(address)
  if (url.pathname === '/') url.pathname = '/api/v1/'
  return url.href.endsWith('/') ? url.href : `${url.href}/`
}

function publicLog(base: string): PublicLog {
  return async (path) => {
    const address = `${base}${path}`
    try {
      const answer = await fetch(address, {
        signal: AbortSignal.timeout(timeoutMs),
        redirect: 'error',
      })
      if (answer.status === 404) return undefined
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
      const bytes = new Uint8Array(await answer.arrayBuffer())
      if (bytes.length > maxBytes) throw new Error('too long an answer')
      return bytes
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new KilnError('not_running', `${address} does not answer: ${why}`, { cause: error })
    }
  }
}

/** What the log itself says its key is: only on the first look, and people are told. */
async function toldKey(log: PublicLog, address: string): Promise<string> {
  const bytes = await log('log.vkey')
  if (bytes === undefined) {
    throw new KilnError('not_found', `${address} does not say its key`, {
      fix: 'give it: --key <origin>+<id>+<base64>, or a file that holds it',
    })
  }
  return Buffer.from(bytes).toString('utf8').trim()
}

async function readKey(given: string | undefined): Promise<string | null> {
  if (given === undefined) return null
  if (given.includes('+')) return given.trim()
  const text = await readFile(given, 'utf8').catch((cause: unknown) => {
    throw new KilnError('invalid_input', `${given} cannot be read`, { place: '--key', cause })
  })
  return text.trim()
}

function stateFile(env: Environment): string {
  const folder = env['XDG_STATE_HOME'] || join(env['HOME'] || homedir(), '.local', 'state')
  return join(folder, 'kiln', 'monitor.json')
}

/** A file that cannot be read is no first look: history may have been seen. */
async function readState(path: string): Promise<readonly Log[]> {
  try {
    return stateForm.parse(JSON.parse(await readFile(path, 'utf8'))).logs
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return []
    throw new KilnError('invalid_input', `${path} is not what a monitor wrote`, {
      place: path,
      cause,
      fix: 'restore the file; without it nobody knows what was seen before',
    })
  }
}

async function writeState(path: string, logs: readonly Log[]): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await replaceFile(path, `${JSON.stringify({ version: 1, logs }, null, 2)}\n`)
}
