import { isOpen, type Entered } from '../domain/break-glass.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { DriftCause } from '../domain/statement.ts'
import type { FoundDrift } from './drift.ts'
import type { HostFence } from './fence.ts'
import { noteTaints } from './host-record.ts'

/** What people do in an instance that they were let into; found, on the host's record, and not yet told. */
const expectedInside: ReadonlySet<DriftCause> = new Set(['break-glass', 'process', 'content'])

/**
 * Who was let in changed it, whether or not they did: no change keeps such an instance. Durable before
 * anybody is told, and noted once.
 */
export async function noteEntered(
  fence: HostFence,
  environment: EnvironmentName,
  entered: readonly Entered[],
): Promise<void> {
  for (const { id, by, since, reason } of entered) {
    const known = fence.record(environment).tainted[id] ?? []
    if (known.some(({ cause }) => cause === 'break-glass')) continue
    const found = `${by} was let in at ${since}: ${reason}`
    await fence.note(environment, (record) =>
      noteTaints(record, id, [{ cause: 'break-glass', found }]),
    )
  }
}

/** While somebody may be inside, the instance stays; what is more than that (it stopped, it was changed) is told. */
export function isHeldBack(
  { id, cause }: Pick<FoundDrift, 'id' | 'cause'>,
  entered: readonly Entered[],
  now: Date,
): boolean {
  return expectedInside.has(cause) && entered.some((one) => one.id === id && isOpen(one, now))
}
