import { execa } from 'execa'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { chosen, isMet, median, medianOf, type Part } from '../../scripts/bench/figure.ts'

const main = join(import.meta.dirname, '../../scripts/bench/main.ts')

function bench(...args: string[]) {
  return execa(process.execPath, [main, ...args], { reject: false })
}

const report = z.strictObject({
  version: z.literal(1),
  machine: z.strictObject({
    cpus: z.int().min(1),
    memoryMb: z.int().min(1),
    node: z.string(),
    load: z.array(z.number()).length(3),
  }),
  figures: z.array(
    z.strictObject({
      name: z.string(),
      value: z.number(),
      unit: z.string(),
      baseline: z.strictObject({ name: z.string(), value: z.number() }).optional(),
      goal: z
        .union([z.strictObject({ max: z.number() }), z.strictObject({ min: z.number() })])
        .optional(),
      samples: z.array(z.number()).min(1),
      met: z.boolean().optional(),
    }),
  ),
})

test('standard output is one document of figures, each beside its baseline', async () => {
  const { stdout, stderr, exitCode } = await bench('--only', 'help_ms')
  expect(exitCode).toBe(0)
  const { figures } = report.parse(JSON.parse(stdout))
  expect(figures.map(({ name }) => name)).toEqual(['help_ms'])
  const [figure] = figures
  expect(figure).toMatchObject({ unit: 'ms', goal: { max: 300 }, baseline: { name: 'node -e 0' } })
  expect(figure?.samples).toHaveLength(9)
  expect(figure?.met).toBe((figure?.value ?? Infinity) <= 300)
  expect(stderr).toContain('measuring help_ms')
})

test('a figure that is not known is a wrong argument: nothing is measured', async () => {
  const { stdout, stderr, exitCode } = await bench('--only', 'help_ms,speed')
  expect(exitCode).toBe(2)
  expect(stdout).toBe('')
  expect(stderr).toMatch(/does not know speed; there are: help_ms, .*requests_failed/)
})

test('the value is the median of its samples', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 3, 2])).toBe(2.5)
  const figure = medianOf({
    name: 'wait_s',
    unit: 's',
    samples: [0.12345, 2, 1],
    baseline: { name: 'nothing', samples: [1234.5, 1, 12345] },
  })
  expect(figure).toEqual({
    name: 'wait_s',
    unit: 's',
    value: 1,
    samples: [0.123, 2, 1],
    baseline: { name: 'nothing', value: 1235 },
  })
})

test('a goal is a bound that the value may reach and not pass', () => {
  const figure = { name: 'wait_s', unit: 's', value: 4, samples: [4] } as const
  expect(isMet(figure)).toBeUndefined()
  expect(isMet({ ...figure, goal: { max: 4 } })).toBe(true)
  expect(isMet({ ...figure, goal: { max: 3.99 } })).toBe(false)
  expect(isMet({ ...figure, goal: { min: 4 } })).toBe(true)
  expect(isMet({ ...figure, goal: { min: 4.01 } })).toBe(false)
})

function part(...names: string[]): Part {
  return { names, limitS: 1, measure: async () => [] }
}

test('a part is measured when one of its figures is wanted', () => {
  const parts = [part('promote_s', 'rollback_s'), part('help_ms')]
  expect(chosen(parts, ['rollback_s'])).toEqual([parts[0]])
  expect(chosen(parts, [])).toEqual(parts)
})
