import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Digest } from '../domain/digest.ts'
import type { Attempt, Effect, EffectFence } from '../domain/effect.ts'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { errnoOf } from '../store/disk-error.ts'
import { lockFolder } from '../store/folder-lock.ts'
import { replaceFile } from '../store/replace-file.ts'
import {
  catchUp,
  demandNotBehind,
  emptyRecord,
  parseRecord,
  recordFile,
  takeEpoch,
  type HostRecord,
} from './host-record.ts'

/** What a host has seen and done, durable before it acts on it. */
export interface HostFence extends EffectFence {
  /** Throws `fenced` when a higher epoch was seen; changes nothing. */
  assertCurrent(effect: Effect): void
  record(environment: EnvironmentName): HostRecord
  /** Changes the record; durable once resolved. */
  note(
    environment: EnvironmentName,
    change: (record: HostRecord) => HostRecord,
  ): Promise<HostRecord>
  /**
   * Runs `work` when no effect runs, and lets none begin meanwhile; null when an epoch after `epoch` was
   * taken: what `work` would rest on is over then.
   */
  between<T>(
    at: { environment: EnvironmentName; epoch: number },
    work: () => Promise<T>,
  ): Promise<T | null>
  /** Whether an effect runs now: what it makes is not on record yet. */
  isActing(environment: EnvironmentName): boolean
  environments(): readonly EnvironmentName[]
  /**
   * Takes over what the ledger says: a host that is new, or lost its memory, obeys no older order, and
   * knows what should run. Throws `ledger_forked`, and learns nothing, where this host has seen more.
   */
  learn(known: readonly Known[]): Promise<void>
  /** From now on the digest starts nowhere on this host, whatever it is told later. */
  deny(digests: readonly Digest[]): Promise<void>
  isDenied(digest: Digest): boolean
  close(): void
}

/** How far an environment is, as the ledger says. */
export type Known = { environment: EnvironmentName; epoch: number; sequence: number }

const heartbeatEveryMs = 2000
const deniedFile = 'denied.json'
const deniedForm = z.strictObject({ version: z.literal(1), digests: z.array(z.string()) })

/**
 * Opens the host's memory and makes this process the only one that acts for it, until `close` or death.
 * Throws `already_running` when another process does, `store_unsuitable` when the memory is damaged.
 */
export async function openFence({ folder }: { folder: string }): Promise<HostFence> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const lock = await lockFolder(folder)
  try {
    const memory = await readMemory(folder)
    return { ...memory, ...oneAtATime(memory), close: lock.release }
  } catch (error) {
    lock.release()
    throw error
  }
}

type Memory = Omit<HostFence, 'run' | 'between' | 'isActing' | 'close'>

async function readMemory(folder: string): Promise<Memory> {
  const records = await readRecords(folder)
  const denied = await readDenied(folder)
  const durable = new Set(denied)
  const inTurn = turns()

  const record = (environment: EnvironmentName) =>
    records.get(environment) ?? emptyRecord(environment)
  const note: HostFence['note'] = (environment, change) =>
    inTurn(environment, async () => {
      const next = change(record(environment))
      await replaceFile(join(folder, recordFile(environment)), `${JSON.stringify(next)}\n`)
      records.set(environment, next)
      return next
    })
  return {
    record,
    assertCurrent: (effect) => void takeEpoch(record(effect.environment), effect.epoch),
    environments: () => [...records.keys()],
    isDenied: (digest) => denied.has(digest),
    note,
    async learn(known) {
      for (const one of known) demandNotBehind(record(one.environment), one)
      for (const one of known) {
        const { epoch, sequence } = record(one.environment)
        if (records.has(one.environment) && epoch >= one.epoch && sequence >= one.sequence) continue
        await note(one.environment, (before) => catchUp(before, one))
      }
    },
    async deny(digests) {
      for (const digest of digests) denied.add(digest)
      // Denied at once; told only when the disk has it, also when an earlier write of it failed.
      await inTurn(deniedFile, async () => {
        if (digests.every((digest) => durable.has(digest))) return
        const content = { version: 1, digests: [...denied].toSorted() }
        await replaceFile(join(folder, deniedFile), `${JSON.stringify(content)}\n`)
        for (const digest of content.digests) durable.add(digest)
      })
    },
  }
}

type Turns = Pick<HostFence, 'run' | 'between' | 'isActing'>

function oneAtATime({ assertCurrent, note, record: recordOf }: Memory): Turns {
  const inTurn = turns()
  const running = new Map<EnvironmentName, AbortController>()

  return {
    isActing: (environment) => running.has(environment),
    between: ({ environment, epoch }, work) =>
      inTurn(environment, async () => (recordOf(environment).epoch === epoch ? work() : null)),
    async run(effect, attempt, act) {
      await note(effect.environment, (record) => takeEpoch(record, effect.epoch))
      running
        .get(effect.environment)
        ?.abort(
          new KilnError('fenced', `a newer attempt at ${effect.environment} overtook this one`),
        )
      const own = new AbortController()
      const signal = AbortSignal.any([attempt.signal, own.signal])
      return beating(attempt, () =>
        inTurn(effect.environment, async () => {
          signal.throwIfAborted()
          assertCurrent(effect)
          running.set(effect.environment, own)
          try {
            return await act(signal)
          } finally {
            running.delete(effect.environment)
          }
        }),
      )
    },
  }
}

/** Runs work one after the other under each name, in the order asked for. */
function turns(): <T>(name: string, work: () => Promise<T>) => Promise<T> {
  const tails = new Map<string, Promise<unknown>>()
  return (name, work) => {
    const mine = (tails.get(name) ?? Promise.resolve()).then(work)
    const settled = mine.then(
      () => undefined,
      () => undefined,
    )
    tails.set(name, settled)
    return mine
  }
}

async function beating<T>(attempt: Attempt, work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => attempt.heartbeat(), heartbeatEveryMs)
  try {
    return await work()
  } finally {
    clearInterval(timer)
  }
}

async function readRecords(folder: string): Promise<Map<EnvironmentName, HostRecord>> {
  const names = (await readdir(folder)).filter(
    (name) => name.endsWith('.json') && name !== deniedFile,
  )
  const records = await Promise.all(
    names.map(async (name) =>
      parseRecord(await readFile(join(folder, name), 'utf8'), join(folder, name)),
    ),
  )
  return new Map(records.map((record) => [record.environment, record]))
}

/** What this host saw denied; also for a process that does not act for it. */
export async function readDenied(folder: string): Promise<Set<string>> {
  const path = join(folder, deniedFile)
  try {
    return new Set(deniedForm.parse(JSON.parse(await readFile(path, 'utf8'))).digests)
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return new Set()
    throw new KilnError('store_unsuitable', 'the host cannot read which digests were denied', {
      place: path,
      cause,
      fix: 'restore the file from a backup, or remove it and let kiln tell the host anew',
    })
  }
}
