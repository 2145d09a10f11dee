import type { Drift } from '../domain/request.ts'
import type { Found } from './engine.ts'
import type { HostRecord } from './host-record.ts'

/** An instance that should run: what the environment's last activation adopted. */
export type ExpectedInstance = { name: string; id: string; digest: string }

export type FoundDrift = Drift & {
  /** The container it is about. */
  id: string
}

/**
 * What differs from what should run. Pure. What Kiln itself ended is none, and neither is what Kiln itself
 * made that is not expected: that belongs to a change in progress, whose workflow knows of it.
 */
export function findDrift(
  expected: readonly ExpectedInstance[],
  found: readonly Found[],
  record: HostRecord,
): FoundDrift[] {
  const ended = new Set(record.ended)
  const missing = expected
    .filter(({ id }) => !ended.has(id))
    .flatMap((one) =>
      driftsOf(
        one,
        found.find(({ id }) => id === one.id),
        record,
      ),
    )
  const known = new Set(expected.map(({ id }) => id))
  const foreign = found
    .filter(({ id }) => !known.has(id) && !ended.has(id))
    .filter((one) => record.made[one.id] === undefined && !isBeingMade(one, record))
    .map((one) => foreignDrift(one, expected))
  return [...missing, ...foreign]
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
