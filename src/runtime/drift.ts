import type { Drift } from '../domain/request.ts'
import type { Found } from './engine.ts'
import type { HostRecord } from './host-record.ts'

/** An instance that should run: what the environment's last activation adopted. */
export type ExpectedInstance = { name: string; id: string; digest: string }

export type FoundDrift = Drift & {
  /** The container it is about. */
  id: string
}

/** What the ledger says should run, and how far the environment is. */
export type Wanted = {
  instances: readonly ExpectedInstance[]
  /** The environment's last epoch; null while that change has no outcome, whose workflow knows what runs. */
  closed: number | null
}

/**
 * What differs from what should run. Pure. What Kiln itself made or ended is no drift while the change that
 * did it may still come to its end. Once the last change has its outcome, and this host has seen no later
 * one, there is nobody left to adopt it or to put it back: its work was lost (`unknown`).
 */
export function findDrift(
  wanted: Wanted,
  found: readonly Found[],
  record: HostRecord,
): FoundDrift[] {
  const isOver = wanted.closed !== null && record.epoch <= wanted.closed
  const ended = new Set(record.ended)
  const expected = wanted.instances.flatMap((one) => {
    const there = found.find(({ id }) => id === one.id)
    const drifts = driftsOf(one, there, record)
    if (!ended.has(one.id)) return drifts
    return isOver ? drifts.map(endedInVain) : []
  })
  const known = new Set(wanted.instances.map(({ id }) => id))
  const others = found.filter(({ id }) => !known.has(id))
  const isForeign = (one: Found) =>
    !ended.has(one.id) && record.made[one.id] === undefined && !isBeingMade(one, record)
  return [
    ...expected,
    ...others.filter(isForeign).map((one) => foreignDrift(one, wanted.instances)),
    ...(isOver ? others.filter((one) => !isForeign(one)).map(leftBehind) : []),
  ]
}

function endedInVain(drift: FoundDrift): FoundDrift {
  return {
    ...drift,
    cause: 'unknown',
    found: `${drift.found}: ended by a change that did not stand`,
  }
}

function leftBehind({ id, name }: Found): FoundDrift {
  return {
    id,
    instance: name,
    cause: 'unknown',
    found: 'an instance that no change adopted',
    expected: 'nothing of this name',
  }
}

/** The host died before it heard the id of what it had the engine make; the change's next try finds it. */
function isBeingMade({ name, state }: Found, { making }: HostRecord): boolean {
  return state === 'created' && making.includes(name)
}

/** What is known of a container that runs is worth telling; of one that does not, that it does not. */
function driftsOf(
  one: ExpectedInstance,
  found: Found | undefined,
  record: HostRecord,
): FoundDrift[] {
  const drift = driftOf(one, found, record)
  if (drift !== null) return [drift]
  return (record.tainted[one.id] ?? []).map((taint) => ({
    ...taint,
    id: one.id,
    instance: one.name,
    expected: `${one.digest} as its key says`,
  }))
}

function driftOf(
  { name, id, digest }: ExpectedInstance,
  found: Found | undefined,
  record: HostRecord,
): FoundDrift | null {
  const wanted = { id, instance: name, expected: `running ${digest}` }
  if (found === undefined) return { ...wanted, cause: 'removed', found: 'no container' }
  if (found.state === 'removing') return { ...wanted, cause: 'removed', found: 'being removed' }
  if (found.state === 'paused') return { ...wanted, cause: 'paused', found: 'paused' }
  if (found.state !== 'running') {
    return { ...wanted, cause: 'stopped', found: `${found.state}, exit code ${found.exitCode}` }
  }
  const started = record.made[id]
  if (started !== undefined && started !== '' && started !== found.startedAt) {
    return { ...wanted, cause: 'restarted', found: `started again at ${found.startedAt}` }
  }
  return null
}

function foreignDrift(found: Found, expected: readonly ExpectedInstance[]): FoundDrift {
  const instead = expected.find(({ name }) => name === found.name)
  return {
    id: found.id,
    instance: found.name,
    cause: 'foreign',
    found: `a container of ${found.imageId} that Kiln did not make`,
    expected: instead === undefined ? 'nothing of this name' : `running ${instead.digest}`,
  }
}
