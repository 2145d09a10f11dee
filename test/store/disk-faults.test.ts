import { mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { expectDiskError, faultyDisk, smallDisk } from '../helpers/disk-fault.ts'
import { stateWriters, type StateWriter } from '../helpers/state-writers.ts'
import { scratch } from '../helpers/store-scratch.ts'

/** The calls of one write; each is made to fail. Of a folder the sync is one too. */
const replacing = ['open', 'rename', 'sync', 'write']
const kinds: Readonly<Record<string, readonly string[]>> = {
  blob: ['link', 'open', 'sync', 'write'],
  object: ['link', 'mkdir', 'open', 'sync', 'write'],
  head: ['link', 'open', 'sync', 'write'],
  'host fence': replacing,
  'host denials': replacing,
  edge: replacing,
  supervisor: ['mkdirSync', 'renameSync', 'writeFileSync'],
}

async function opened(name: string, root: string): Promise<StateWriter> {
  const writer = await stateWriters[name]?.(root)
  if (writer === undefined) throw new Error(`no writer ${name}`)
  onTestFinished(() => writer.close?.())
  await writer.write(1)
  return writer
}

const failure = (action: Promise<unknown>) =>
  action.then(
    () => undefined,
    (error: unknown) => error,
  )

/** The first is there, of the second nothing or all of it; then the second is written, and a third. */
async function expectMended(writer: StateWriter, heal: () => Promise<void>): Promise<void> {
  const failed = await writer.read()
  expect([[1], [1, 2]]).toContainEqual(failed)
  await heal()
  await writer.write(2)
  expect(await writer.read()).toEqual([1, 2])
  await writer.write(3)
  expect(await writer.read()).toEqual([1, 2, 3])
}

/** Nothing of an unfinished file is left that nobody clears. */
function leftIn(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.tmp') || /(^|\/)tmp\/./.test(name),
  )
}

describe.each(Object.keys(stateWriters))('the %s', (name) => {
  test.each(['EIO', 'ENOSPC', 'EDQUOT', 'EROFS'])(
    '%s at each of its calls: typed, nothing lost, nothing half believed, and it goes on',
    async (code) => {
      const { root } = await smallDisk(scratch())
      const disk = await faultyDisk(root)
      const at = async (n: number) => opened(name, mkdtempSync(join(root, `${n}-`)))
      const whole = await at(-1)
      disk.heal()
      await whole.write(2)
      const calls = [...disk.calls]
      const met = new Set(calls.map((call) => call.split(' ')[0]))
      expect(met).toEqual(new Set(kinds[name]))
      for (const nth of calls.keys()) {
        const writer = await at(nth)
        disk.failFrom(nth, code)
        expectDiskError(await failure(writer.write(2)), root, code)
        await expectMended(writer, async () => disk.heal())
      }
      expect(leftIn(root)).toEqual([])
    },
  )

  test('a disk that is really full', async () => {
    const disk = await smallDisk(scratch())
    const writer = await opened(name, disk.root)
    disk.fill()
    const error = await failure(writer.write(2))
    expectDiskError(error, disk.root, 'ENOSPC')
    expect(error).toMatchObject({ message: expect.stringContaining(', 0 B free: ') })
    await expectMended(writer, async () => disk.free())
  })

  test('a disk that is really read-only', async () => {
    const disk = await smallDisk(scratch())
    const writer = await opened(name, disk.root)
    await disk.readOnly()
    expectDiskError(await failure(writer.write(2)), disk.root, 'EROFS')
    expect(await writer.read()).toEqual([1])
    await disk.writable()
    await expectMended(writer, async () => {})
  })
})
