import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import { parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'
import { driftCauses, type DriftCause, type Leaf } from '../domain/statement.ts'

/** What was found of a container that still runs; it stays found until the container is gone. */
export type Taint = { cause: DriftCause; found: string }

/** What a host remembers of one environment; a host that forgot would obey the past. */
export type HostRecord = {
  version: 1
  environment: EnvironmentName
  /** The highest epoch that was seen. */
  epoch: number
  /** The highest key sequence that was seen. */
  sequence: number
  /** The key that instances of `epoch` were started under. One epoch has one key. */
  key: Leaf | null
  /** Names of containers that the epoch makes, from before they exist: a host may die before it hears an id. */
  making: readonly string[]
  /** Containers that Kiln itself made, by id, with the engine's start time; empty until it is known. */
  made: Readonly<Record<string, string>>
  /** Containers that somebody else changed, by id: they serve until others can, and are never kept. */
  tainted: Readonly<Record<string, readonly Taint[]>>
  /** Containers that Kiln itself ends or ended, newest last: their end is no drift. */
  ended: readonly string[]
}

/** Characters of what was found; statements are bounded. */
const taintLimit = 4000
/** How many ended containers are remembered; a late event or scan never looks back further. */
const endedLimit = 200

const form = z.strictObject({
  version: z.literal(1),
  environment: z.string(),
  epoch: z.int().nonnegative(),
  sequence: z.int().nonnegative(),
  key: z.string().nullable(),
  // Records of 0.1.0 have none.
  making: z.array(z.string()).default([]),
  made: z.record(z.string(), z.string()),
  tainted: z
    .record(z.string(), z.array(z.strictObject({ cause: z.enum(driftCauses), found: z.string() })))
    .default({}),
  ended: z.array(z.string()),
})

export function emptyRecord(environment: EnvironmentName): HostRecord {
  const nothing = { epoch: 0, sequence: 0, key: null, making: [], made: {}, tainted: {}, ended: [] }
  return { version: 1, environment, ...nothing }
}

/** `<app>.<environment>.json`: names have no dots, so this is unambiguous. */
export function recordFile(environment: EnvironmentName): string {
  return `${environment.replace('/', '.')}.json`
}

export function parseRecord(text: string, place: string): HostRecord {
  try {
    const found = form.parse(JSON.parse(text))
    return { ...found, environment: parseEnvironmentName(found.environment).name }
  } catch (cause) {
    throw new KilnError('store_unsuitable', 'the host cannot read what it had seen', {
      place,
      cause,
      fix: 'restore the file from a backup; without it this host cannot tell an old order from a new one',
    })
  }
}

/** The record once `epoch` is taken; throws `fenced` when a higher one was seen. */
export function takeEpoch(record: HostRecord, epoch: number): HostRecord {
  if (!Number.isSafeInteger(epoch) || epoch < 1) {
    throw new KilnError('invalid_input', `not an epoch: ${epoch}`)
  }
  if (epoch < record.epoch) {
    throw new KilnError(
      'fenced',
      `epoch ${epoch} of ${record.environment} is over: this host has seen ${record.epoch}`,
    )
  }
  return epoch === record.epoch ? record : { ...record, epoch, key: null, making: [] }
}

/** Throws `ledger_forked` when the ledger says less than this host has seen: it is an old one. */
export function demandNotBehind(
  { environment, epoch, sequence }: HostRecord,
  known: { epoch: number; sequence: number },
): void {
  if (known.epoch >= epoch && known.sequence >= sequence) return
  throw new KilnError(
    'ledger_forked',
    `this host has seen epoch ${epoch} and key ${sequence} of ${environment}, the ledger ends at epoch ${known.epoch} and key ${known.sequence}`,
    {
      place: environment,
      fix: 'the store is older than what this host did: put the newer one back; docs/recovery.md says how',
    },
  )
}

/** The record once it knows what the ledger knows; under which key an epoch acts is not learnt. */
export function catchUp(
  record: HostRecord,
  known: { epoch: number; sequence: number },
): HostRecord {
  const sequence = Math.max(record.sequence, known.sequence)
  if (known.epoch <= record.epoch) return { ...record, sequence }
  return { ...record, epoch: known.epoch, sequence, key: null }
}

/** The record once its epoch acts under a key; throws `fenced` when it acted under another. */
export function takeKey(record: HostRecord, key: { leaf: Leaf; sequence: number }): HostRecord {
  if (record.key !== null && record.key !== key.leaf) {
    throw new KilnError(
      'fenced',
      `epoch ${record.epoch} of ${record.environment} already has another key`,
    )
  }
  return { ...record, key: key.leaf, sequence: Math.max(record.sequence, key.sequence) }
}

/** Before the engine is asked to make it. */
export function noteMaking(record: HostRecord, name: string): HostRecord {
  return record.making.includes(name) ? record : { ...record, making: [...record.making, name] }
}

export function noteMade(record: HostRecord, id: string, startedAt: string): HostRecord {
  return { ...record, made: { ...record.made, [id]: startedAt } }
}

/** Before they are ended: so that nobody takes their end for tampering. */
export function noteEnding(record: HostRecord, ids: readonly string[]): HostRecord {
  const ended = [...record.ended.filter((id) => !ids.includes(id)), ...ids].slice(-endedLimit)
  return { ...record, ended }
}

/** After they are gone. */
export function noteGone(record: HostRecord, ids: readonly string[]): HostRecord {
  const without = <T>(known: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(known).filter(([id]) => !ids.includes(id)))
  return { ...record, made: without(record.made), tainted: without(record.tainted) }
}

/** Of one cause the first finding stays: what comes after it changes nothing. */
export function noteTaints(record: HostRecord, id: string, taints: readonly Taint[]): HostRecord {
  if (record.made[id] === undefined) return record
  const known = record.tainted[id] ?? []
  const fresh = taints
    .filter(({ cause }) => !known.some((one) => one.cause === cause))
    .map(({ cause, found }) => ({ cause, found: found.slice(0, taintLimit) }))
  if (fresh.length === 0) return record
  return { ...record, tainted: { ...record.tainted, [id]: [...known, ...fresh] } }
}
