import { expect, test } from 'vitest'
import { driftCauses } from '../../src/domain/statement.ts'
import { isHeldBack } from '../../src/runtime/entered.ts'

const leave = { instance: 'kiln.hello.prod.3.1', since: '', by: 'ann', reason: 'it hangs' }
const until = '2026-11-28T03:14:00.000Z'
const entered = [{ ...leave, id: 'c0ffee', until }]
const during = new Date(Date.parse(until) - 1)

test('what people do inside is kept for later, and nothing else', () => {
  const held = driftCauses.filter((cause) => isHeldBack({ id: 'c0ffee', cause }, entered, during))
  expect(held).toEqual(['content', 'process', 'break-glass'])
})

test('of another instance, or when the time is over, it is told', () => {
  expect(isHeldBack({ id: 'beef', cause: 'process' }, entered, during)).toBe(false)
  expect(isHeldBack({ id: 'c0ffee', cause: 'process' }, entered, new Date(until))).toBe(false)
  expect(isHeldBack({ id: 'c0ffee', cause: 'process' }, [], during)).toBe(false)
})
