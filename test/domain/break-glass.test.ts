import { expect, test } from 'vitest'
import { breakGlass, isOpen } from '../../src/domain/break-glass.ts'
import { environmentOf } from '../../src/domain/ledger.ts'
import type { BreakGlassBody } from '../../src/domain/statement.ts'
import { FactLog, hash } from '../helpers/facts.ts'

const dev = 'hello/dev'
const at = '2026-11-28T03:00:00.000Z'
const after = (seconds: number) => new Date(Date.parse(at) + seconds * 1000).toISOString()

/** An environment with two instances, and what one more statement says of the first. */
function running() {
  const log = new FactLog()
  const [instance, id] = ['kiln.hello.dev.1.1', hash('one')]
  const instances = [
    { name: instance, id },
    { name: 'kiln.hello.dev.1.2', id: hash('two') },
  ]
  const artifact = log.seal('a')
  log.change(dev, artifact)
  log.key(dev, artifact)
  log.outcome(dev, 'active', { instances })
  const say = (change: Partial<BreakGlassBody> & { time?: string }) => {
    const { time = at, ...part } = change
    const body = {
      environment: dev,
      instance,
      id,
      until: after(900),
      reason: 'it hangs',
      requestedBy: 'ann',
      ...part,
    } as const
    const { leaf } = log.add({ kind: 'break-glass', artifact: null, body }, time)
    return log.ledger.void.has(leaf)
  }
  return {
    log,
    say,
    instance,
    id,
    instances,
    entered: () => environmentOf(log.ledger, dev).entered,
  }
}

test('who was let into what, until when and why is known', () => {
  const { say, entered, instance, id } = running()
  expect(say({})).toBe(false)
  expect(entered()).toEqual([
    { instance, id, since: at, until: after(900), by: 'ann', reason: 'it hangs' },
  ])
  const [one] = entered()
  expect(isOpen(one!, new Date(Date.parse(after(900)) - 1))).toBe(true)
  expect(isOpen(one!, new Date(after(900)))).toBe(false)
})

test('the newest statement of an instance counts, and one without a time ends it', () => {
  const { say, entered } = running()
  say({})
  say({ time: after(60), until: after(3600), requestedBy: 'bob', reason: 'longer' })
  expect(entered()).toMatchObject([{ since: at, until: after(3600), by: 'bob', reason: 'longer' }])
  expect(say({ time: after(70), until: after(70), requestedBy: 'eve', reason: 'ended' })).toBe(
    false,
  )
  // Who was inside, and why, stays.
  expect(entered()).toMatchObject([{ since: at, until: after(70), by: 'bob', reason: 'longer' }])
})

test.each([
  ['of an instance that does not run here', { id: 'f'.repeat(64) }],
  ['of another name than the instance has', { instance: 'kiln.hello.dev.9.9' }],
  ['of an environment that is not there', { environment: 'hello/nowhere' }],
  ['for longer than anybody may', { until: after(breakGlass.longestSeconds + 1) }],
  ['that ends what nobody began', { until: at }],
] as const)('a statement %s is void', (_what, change) => {
  const { say, entered } = running()
  expect(say(change)).toBe(true)
  expect(entered()).toEqual([])
})

test('the longest leave counts', () => {
  const { say, entered } = running()
  expect(say({ until: after(breakGlass.longestSeconds) })).toBe(false)
  expect(entered()).toHaveLength(1)
})

test('a change that leaves it running leaves the leave; one that replaces it takes both', () => {
  const { log, say, entered, instances } = running()
  say({})
  log.change(dev, log.seal('b'))
  log.outcome(dev, 'failed')
  expect(entered()).toHaveLength(1)
  log.change(dev, log.seal('a'), { changeKind: 'scale' })
  log.outcome(dev, 'active', { instances })
  expect(entered()).toHaveLength(1)
  log.change(dev, log.seal('a'), { changeKind: 'replacement' })
  log.outcome(dev, 'active', { instances: instances.slice(1) })
  expect(entered()).toEqual([])
})
