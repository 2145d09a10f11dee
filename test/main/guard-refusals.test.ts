import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Refusals } from '../../src/cli/local-port.ts'
import { openRefusals, readRefusals } from '../../src/main/guard-refusals.ts'
import type { Refused } from '../../src/runtime/guard/server.ts'

// What the guard refused, as an operator finds it: in its log, and in a file that stays small.

let home: string
let path: string
let lines: Record<string, unknown>[]
const now = () => new Date('2026-11-28T03:00:00Z')
const logger = pino(
  {},
  { write: (text) => lines.push(JSON.parse(text) as Record<string, unknown>) },
)

beforeEach(async () => {
  lines = []
  home = await mkdtemp(join(tmpdir(), 'kiln-refusals-'))
  path = join(home, 'guard', 'refusals.json')
})
afterEach(() => rm(home, { recursive: true, force: true }))

const refusal = (number: number): Refused => ({
  rule: 'into-instance',
  message: `no exec ${number}`,
  container: 'kiln.hello.prod.3.1',
  environment: 'hello/prod',
  method: 'POST',
  path: '/v1.41/containers/c0ffee/exec',
  user: '',
  client: 'Docker-Client/20.10.24 (linux)',
})

const open = () => openRefusals(path, { logger, now })

test('each is logged with its rule and its container, and kept for kiln status, also over a restart', async () => {
  expect(await readRefusals(path)).toBeNull()
  const first = await open()
  first.note(refusal(1))
  await first.close()
  const { message: msg, ...about } = refusal(1)
  expect(lines).toEqual([expect.objectContaining({ level: 40, msg, ...about })])
  const since = now().toISOString()
  const one = { time: since, ...refusal(1) }
  expect(await readRefusals(path)).toEqual({ since, total: 1, newest: [one] })
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  const second = await open()
  second.note(refusal(2))
  await second.close()
  expect(await readRefusals(path)).toMatchObject({
    total: 2,
    newest: [{ message: 'no exec 2' }, { message: 'no exec 1' }],
  })
})

test('a flood of them is counted, and writes neither a large file nor often', async () => {
  const refusals = await open()
  for (let number = 0; number < 5000; number++) refusals.note(refusal(number))
  await refusals.close()
  const kept = await readRefusals(path)
  expect(kept).toMatchObject({ total: 5000 })
  const { newest } = kept as Refusals
  expect(newest.map(({ message }) => message)).toEqual(
    Array.from({ length: 20 }, (_, at) => `no exec ${4999 - at}`),
  )
  expect((await readFile(path)).length).toBeLessThan(20_000)
  expect(await readdir(join(home, 'guard'))).toEqual(['refusals.json'])
})

test('a record that cannot be read is said to be so, and begun anew by the next guard', async () => {
  await mkdir(join(home, 'guard'))
  await writeFile(path, '{')
  expect(await readRefusals(path)).toBe('unreadable')
  const refusals = await open()
  refusals.note(refusal(1))
  await refusals.close()
  expect(await readRefusals(path)).toMatchObject({ total: 1 })
})

test('a home that is not there is not made; what is refused is in the log', async () => {
  await rm(home, { recursive: true })
  const refusals = await open()
  refusals.note(refusal(1))
  await refusals.close()
  await expect(stat(home)).rejects.toThrow('ENOENT')
  expect(lines.map(({ msg }) => msg)).toEqual([
    'no exec 1',
    'what was refused is in this log alone',
  ])
})
