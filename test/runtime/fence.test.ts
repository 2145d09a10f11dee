import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { digestOfHex } from '../../src/domain/digest.ts'
import { openFence, type HostFence } from '../../src/runtime/fence.ts'
import { takeKey } from '../../src/runtime/host-record.ts'
import { attempt, codeOf, effectOf, environment } from './host-at-hand.ts'

let folder: string
let fence: HostFence

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-fence-'))
  fence = await openFence({ folder })
})
afterEach(async () => {
  fence.close()
  await rm(folder, { recursive: true, force: true })
})

const nothing = async () => undefined
const run = (epoch: number, act: (signal: AbortSignal) => Promise<unknown> = nothing) =>
  fence.run(effectOf(epoch), attempt(), act)

async function reopened(): Promise<HostFence> {
  fence.close()
  fence = await openFence({ folder })
  return fence
}

test('an epoch is durable before the effect begins', async () => {
  await run(3, async () => {
    const file = JSON.parse(await readFile(join(folder, 'hello.prod.json'), 'utf8')) as object
    expect(file).toMatchObject({ version: 1, environment, epoch: 3 })
  })
})

test('a host that has seen an epoch refuses older ones, after a restart too', async () => {
  await run(5)
  expect(await codeOf(run(4))).toBe('fenced')
  await reopened()
  expect(await codeOf(run(4))).toBe('fenced')
  expect(await codeOf(run(5))).toBe('nothing was thrown')
  expect(await codeOf(run(6))).toBe('nothing was thrown')
  expect(() => fence.assertCurrent(effectOf(5))).toThrow('is over')
  fence.assertCurrent(effectOf(6))
})

test.each([0, -1, 1.5, Number.NaN])('%s is no epoch', async (epoch) => {
  expect(await codeOf(run(epoch))).toBe('invalid_input')
})

test('effects of an environment never overlap; a newer one ends an older one first', async () => {
  const events: string[] = []
  const begun = Promise.withResolvers<void>()
  const old = run(1, async (signal) => {
    events.push('old begins')
    begun.resolve()
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => setTimeout(resolve, 100))
    })
    events.push('old ends')
    signal.throwIfAborted()
  })
  const ended = codeOf(old)
  await begun.promise
  await run(2, async () => void events.push('new'))
  expect(events).toEqual(['old begins', 'old ends', 'new'])
  expect(await ended).toBe('fenced')
})

test('an effect that waited its turn while a newer epoch came does nothing', async () => {
  const events: string[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const first = run(1, () => promise)
  const second = codeOf(run(1, async () => void events.push('second')))
  const third = run(2, async () => void events.push('third'))
  // Both are in the queue once the newer epoch is durable.
  await expect.poll(() => fence.record(environment).epoch).toBe(2)
  resolve()
  await Promise.all([first, third])
  expect(await second).toBe('fenced')
  expect(events).toEqual(['third'])
})

test('environments do not wait for each other', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const waiting = run(1, () => promise)
  await fence.run({ ...effectOf(1), environment: 'hello/test' }, attempt(), nothing)
  await expect.poll(() => fence.isActing(environment)).toBe(true)
  resolve()
  await waiting
  expect(fence.isActing(environment)).toBe(false)
})

test('an activity that was cancelled while it waited does nothing', async () => {
  const cancelled = AbortSignal.abort(new Error('cancelled'))
  const acted: string[] = []
  const work = fence.run(
    effectOf(1),
    { signal: cancelled, heartbeat: () => undefined },
    async () => void acted.push('acted'),
  )
  expect(await codeOf(work)).toBe('Error: cancelled')
  expect(acted).toEqual([])
})

test('one epoch acts under one key; the next may have another, of a lower sequence too', async () => {
  const note = (leaf: string, sequence: number) =>
    fence.note(environment, (record) => takeKey(record, { leaf, sequence }))
  await run(1)
  await note('a', 7)
  await note('a', 7)
  expect(await codeOf(note('b', 8))).toBe('fenced')
  // Key 7 failed: what was active before it is replaced under its own key.
  await run(2)
  await note('b', 6)
  expect(fence.record(environment)).toMatchObject({ epoch: 2, key: 'b', sequence: 7 })
})

test('a denied digest stays denied, after a restart too', async () => {
  const digest = digestOfHex('d'.repeat(64))
  await fence.deny([digest])
  expect((await reopened()).isDenied(digest)).toBe(true)
})

test('a damaged memory is refused, not forgotten', async () => {
  await run(9)
  for (const [file, content] of [
    ['hello.prod.json', '{"version":1,"environment":"hello/prod","epoch":'],
    ['hello.prod.json', '{"version":2}'],
    ['denied.json', 'null'],
  ] as const) {
    await writeFile(join(folder, file), content)
    fence.close()
    expect([content, await codeOf(openFence({ folder }))]).toEqual([content, 'store_unsuitable'])
    await rm(join(folder, file))
    fence = await openFence({ folder })
  }
})

test('two processes cannot both act for a host; a killed one leaves the way free', async () => {
  fence.close()
  const script = `
    import { openFence } from ${JSON.stringify(new URL('../../src/runtime/fence.ts', import.meta.url).href)}
    await openFence({ folder: ${JSON.stringify(folder)} })
    process.stdout.write('open\\n')
    setInterval(() => {}, 1000)`
  const other = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(createInterface({ input: other.stdout }), 'line')
  expect(await codeOf(openFence({ folder }))).toBe('already_running')
  const ended = once(other, 'exit')
  other.kill('SIGKILL')
  await ended
  fence = await openFence({ folder })
})
