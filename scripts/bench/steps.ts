import type { Operation } from '../../src/domain/operation.ts'
import { medianOf, type Figure } from './figure.ts'

/** One run of long work: its seconds in all, and its steps. */
export type Sample = { seconds: number; steps: Operation['steps'] }

/** Where the time goes: a figure for each step, and one for what lies between them. */
export function breakdown(prefix: string, samples: readonly Sample[]): Figure[] {
  const parts = samples.map(({ seconds, steps }) => {
    const each = secondsOf(steps)
    const inside = [...each.values()].reduce((sum, one) => sum + one, 0)
    return each.set('between steps', Math.max(0, seconds - inside))
  })
  const names = [...new Set(parts.flatMap((part) => [...part.keys()]))]
  return names.map((name) =>
    medianOf({
      name: `${prefix}_${name.replaceAll(/[^a-z]+/g, '_')}_s`,
      unit: 's',
      samples: parts.map((part) => part.get(name) ?? 0),
    }),
  )
}

function secondsOf(steps: Operation['steps']): Map<string, number> {
  return new Map(
    steps.flatMap(({ name, startedAt, endedAt }) =>
      startedAt === null || endedAt === null
        ? []
        : [[name, (Date.parse(endedAt) - Date.parse(startedAt)) / 1000] as const],
    ),
  )
}
