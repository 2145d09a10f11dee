import { expect, test } from 'vitest'
import { alarmRule, causeOfRule, spend, type Alarm } from '../../src/domain/replacement-budget.ts'
import type { DriftCause } from '../../src/domain/statement.ts'

const begin = Date.parse('2026-01-01T00:00:00Z')
/** Minutes after the beginning. */
const at = (minutes: number) => new Date(begin + minutes * 60_000)
const replaced = (minutes: number, ...causes: DriftCause[]) => ({
  at: at(minutes).toISOString(),
  causes,
})
const three = [0, 1, 2].map((minute) => replaced(minute, 'stopped'))
const alarm: Alarm = { change: 'c', cause: 'stopped', since: at(3).toISOString(), message: '' }

type Case = {
  what: string
  replacements?: typeof three
  causes?: DriftCause[]
  alarm?: Alarm
  now: number
  until?: number
}
const cases: Case[] = [
  { what: 'the first', replacements: [], now: 0 },
  { what: 'the third within the window', replacements: three.slice(0, 2), now: 3 },
  { what: 'the fourth within the window', now: 3, until: 10 },
  { what: 'the fourth when the first is over', now: 10 },
  { what: 'another cause', causes: ['content'], now: 3 },
  { what: 'one of two causes is within', causes: ['stopped', 'content'], now: 3 },
  { what: 'lost work is not counted', causes: ['unknown'], now: 3 },
  {
    what: 'lost work opens the way for nothing else',
    causes: ['stopped', 'edge'],
    now: 3,
    until: 10,
  },
  { what: 'under an alarm, at once', alarm, now: 4, until: 13 },
  { what: 'under an alarm, after its first pause', alarm, now: 13 },
  {
    what: 'under an alarm, the second pause',
    alarm,
    replacements: [...three, replaced(13, 'stopped')],
    now: 20,
    until: 33,
  },
  {
    what: 'the third pause',
    alarm,
    replacements: [...three, replaced(13, 'stopped'), replaced(33, 'stopped')],
    now: 72,
    until: 73,
  },
  {
    what: 'an alarm of another cause',
    alarm: { ...alarm, cause: 'content' },
    replacements: [],
    now: 4,
  },
  {
    what: 'pauses end growing at six hours',
    alarm,
    replacements: Array.from({ length: 20 }, (_, n) => replaced(3 + n, 'stopped')),
    now: 100,
    until: 22 + 360,
  },
]

test.each(cases)(
  '$what',
  ({ replacements = three, causes = ['stopped'], alarm: standing = null, now, until }) => {
    const spending = spend({ replacements, causes, alarm: standing, now: at(now) })
    expect(spending.kind === 'within' ? null : spending.until).toBe(
      until === undefined ? null : at(until).toISOString(),
    )
  },
)

test('an alarm is a rule’s name, and no other rule is one', () => {
  expect(causeOfRule(alarmRule('content'))).toBe('content')
  expect(causeOfRule('denied')).toBeNull()
})
