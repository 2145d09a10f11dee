import type { ChangeRequest } from '../src/domain/request.ts'
import type { Decision } from '../src/promote/activities.ts'
import { control } from './activities.ts'
import { ended, step, type Tracked } from './tracking.ts'

type Asked = { request: ChangeRequest; operation: Tracked }

/** Requests that end without a change. A refusal is on record too (I17). */
export async function conclude(
  { operation, request }: Asked,
  decision: Exclude<Decision, { kind: 'open' | 'change' | 'nothing-serves' }>,
): Promise<void> {
  switch (decision.kind) {
    case 'refused':
      await step(operation, 'record refusal', () =>
        control.recordRefusal({ request, rule: decision.rule, message: decision.message }),
      )
      return ended(operation, 'refused', {
        result: { rule: decision.rule },
        failure: {
          code: decision.rule === 'low-disk' ? 'low_disk' : 'refused',
          message: decision.message,
          place: decision.rule,
          fix: decision.fix,
          lines: [],
        },
      })
    case 'nothing-to-do':
      return ended(operation, 'unchanged', {
        result: {
          digest: decision.serving?.digest ?? null,
          sequence: decision.serving?.sequence ?? null,
        },
      })
    case 'release':
      await step(operation, 'release', () =>
        control.recordRelease({ request, hold: decision.hold }),
      )
      return ended(operation, 'succeeded')
  }
}
