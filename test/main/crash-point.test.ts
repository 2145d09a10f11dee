import { execa } from 'execa'
import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { declaredCrashPoints, otherCrashPoints } from '../../src/main/crash-point-list.ts'

const root = join(import.meta.dirname, '../..')
let folder: string
const children: { kill: (signal: 'SIGKILL') => boolean }[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kiln-points-'))
})

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

/** A process that passes `a`, then `b`, and says how it ended. */
async function passing(
  at: readonly string[],
  { victim = null as number | null, record = '' } = {},
) {
  const settings = { at, folder, process: 'host', record: record === '' ? undefined : record }
  const { signal, stdout } = await execa(
    process.execPath,
    [
      '--input-type=module-typescript',
      '--eval',
      `import { crashPoints, withCrashPoints } from '${root}/src/main/crash-point.ts'
       const point = crashPoints({ ...${JSON.stringify(settings)}, pidOf: () => ${victim} })
       const { work } = withCrashPoints({ work: async () => console.log('worked') }, point)
       point('a')
       await work()
       point('b')
       console.log('lives')`,
    ],
    { reject: false },
  )
  return `${stdout.split('\n').filter(Boolean).join(' ')} ${signal ?? 'ended'}`.trim()
}

test.each([
  ['a', 'SIGKILL'],
  ['work.start', 'SIGKILL'],
  ['work.done', 'worked SIGKILL'],
  ['b', 'worked SIGKILL'],
  ['c', 'worked lives ended'],
])('a process dies at %s once, and lives when it comes there again', async (point, outcome) => {
  expect(await passing([point])).toBe(outcome)
  expect(await passing([point])).toBe('worked lives ended')
})

test('each entry is a death of its own, and a marker made before disarms one', async () => {
  expect(await passing(['a', 'b'])).toBe('SIGKILL')
  expect(await passing(['a', 'b'])).toBe('worked SIGKILL')
  expect(readdirSync(folder).toSorted()).toEqual(['crashed-a', 'crashed-b'])
  expect(await passing(['a', 'b'])).toBe('worked lives ended')
})

test('an entry with a process ends that one, and not the one that reaches the point', async () => {
  const victim = execa('sleep', ['600'], { reject: false })
  children.push(victim)
  expect(await passing(['a@server'], { victim: victim.pid ?? null })).toBe('worked lives ended')
  expect((await victim).signal).toBe('SIGKILL')
})

test('an entry whose process is dead already waits until it lives', async () => {
  expect(await passing(['b@server'], { victim: null })).toBe('worked lives ended')
  const victim = execa('sleep', ['600'], { reject: false })
  children.push(victim)
  expect(await passing(['b@server'], { victim: victim.pid ?? null })).toBe('worked lives ended')
  expect((await victim).signal).toBe('SIGKILL')
})

test('what a process passes is noted under its name', async () => {
  const record = join(folder, 'record')
  await passing([], { record })
  expect(readFileSync(join(record, 'host.txt'), 'utf8').split('\n')).toEqual([
    'a',
    'work.start',
    'work.done',
    'b',
    '',
  ])
})

test('the points that are declared are those that the code has, each once', () => {
  const files = globSync('{src,signing}/**/*.ts', { cwd: root })
  const inCode = files.flatMap((file) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(/crashPoint(?:\?\.)?\('([^']+)'\)/g)].map(
      ([, name]) => String(name),
    ),
  )
  const declared = [...Object.values(declaredCrashPoints).flat(), ...otherCrashPoints]
  expect(inCode.toSorted()).toEqual(
    declared.filter((name) => !/\.(start|done)$/.test(name)).toSorted(),
  )
  expect(new Set(declared).size).toBe(declared.length)
})
