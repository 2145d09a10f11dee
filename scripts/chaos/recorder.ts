import { execa } from 'execa'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Journal } from './journal.ts'

/**
 * Records an engine's events and every checkpoint that the log's head shows, from before the first start
 * until `stop`. An engine that goes away is asked again, from two seconds before it was last heard.
 */
export async function startRecorder(
  journal: Journal,
  { engine, store }: { engine: string; store: string },
): Promise<{ stop: () => Promise<void> }> {
  const stopping = new AbortController()
  const began = Date.now()
  await execa('docker', ['-H', engine, 'version'])
  const events = recordEvents(journal, { engine, began, signal: stopping.signal })
  const checkpoints = recordHeads(journal, { store, signal: stopping.signal })
  return {
    async stop() {
      await delay(1000)
      stopping.abort()
      await Promise.all([events, checkpoints])
    },
  }
}

async function recordEvents(
  journal: Journal,
  { engine, began, signal }: { engine: string; began: number; signal: AbortSignal },
): Promise<void> {
  const file = openSync(journal.file('docker-events.jsonl'), 'a')
  let since = began
  while (!signal.aborted) {
    const from = ['--since', String(Math.floor(since / 1000) - 2)]
    const words = ['-H', engine, 'events', '--format', '{{json .}}', ...from]
    const child = spawn('docker', words, { stdio: ['ignore', file, 'ignore'] })
    const stop = () => child.kill('SIGTERM')
    signal.addEventListener('abort', stop, { once: true })
    await once(child, 'exit')
    signal.removeEventListener('abort', stop)
    since = Date.now()
    await delay(200)
  }
}

/** A folder keeps few generations of the head, a bucket one: each is copied when it is first seen. */
async function recordHeads(
  journal: Journal,
  { store, signal }: { store: string; signal: AbortSignal },
): Promise<void> {
  let seen = new Set<string>()
  while (!signal.aborted) {
    const notes = heads(join(store, 'head'))
    for (const note of notes) if (!seen.has(note)) journal.checkpoint(note)
    if (notes.length > 0) seen = new Set(notes)
    await delay(100)
  }
}

/** What is there now, oldest first. */
function heads(head: string): string[] {
  try {
    if (!statSync(head).isDirectory()) return noteIn(head)
    return readdirSync(head)
      .filter((name) => /^\d{12}$/.test(name))
      .toSorted((a, b) => (a < b ? -1 : 1))
      .flatMap((name) => noteIn(join(head, name)))
  } catch {
    return []
  }
}

/** Empty where it is being written or was just removed. */
function noteIn(path: string): string[] {
  try {
    const note = readFileSync(path, 'utf8')
    return note === '' ? [] : [note]
  } catch {
    return []
  }
}
