import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { errors } from '../../src/domain/error.ts'

const guide = await readFile(new URL('../../docs/errors.md', import.meta.url), 'utf8')
const sections = guide
  .split(/^## /m)
  .slice(1)
  .map((text) => ({ code: text.split('\n', 1)[0] ?? '', text }))

const valueOf = (text: string, name: string) => new RegExp(`^- ${name}: (.+)$`, 'm').exec(text)?.[1]

test('each error has its section, and each section its error, in one order', () => {
  expect(sections.map(({ code }) => code)).toEqual(Object.keys(errors))
})

test.each(Object.entries(errors))('%s is explained as it is', (code, { exit, http, retryable }) => {
  const text = sections.find((one) => one.code === code)?.text ?? ''
  expect(text.split('\n')[2]).toMatch(/^[A-Z].+\.$/)
  expect(valueOf(text, 'Cause')).toMatch(/\.$/)
  expect(valueOf(text, 'Fix')).toMatch(/\.$/)
  expect(valueOf(text, 'Exit')).toBe(String(exit))
  expect(valueOf(text, 'HTTP')).toBe(String(http))
  expect(valueOf(text, 'Tried again')).toBe(retryable ? 'yes' : 'no')
})
