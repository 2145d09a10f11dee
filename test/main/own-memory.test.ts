import { chmodSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { writeTrust } from '../../signing/trust-files.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { lockCollections } from '../../src/main/collection-lock.ts'
import { loadConfig, type Config } from '../../src/main/config.ts'
import { localGc } from '../../src/main/local-gc.ts'
import { localFsck, localReindex } from '../../src/main/local-ledger.ts'
import { localPrune } from '../../src/main/local-prune.ts'
import { localBackup, localRestore } from '../../src/main/local-recovery.ts'
import { localVerify } from '../../src/main/local-verify.ts'
import { memoryPathOf } from '../../src/main/own-memory.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { folderSigner, origin } from '../helpers/ledger-signer.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { example } from '../signing/examples.ts'

// Numbers 44 and 45 of the catalogue, and threats 14 and 15, for the reader at the command line.

const quiet = () => undefined
const without = { kind: 'none' } as const

/** A machine with a home and, apart from it, the folder of the person who sits there. */
function machine() {
  const folder = scratch()
  const person = join(folder, 'person')
  mkdirSync(person)
  const settings = { KILN_HOME: join(folder, 'home'), KILN_ORIGIN: origin, HOME: person }
  const config = loadConfig(settings, '/')
  return { folder, config, at: (name: string) => join(folder, name) }
}

/** Appends refusals with these numbers, as Kiln would. */
async function append({ paths }: Config, ...numbers: number[]): Promise<void> {
  const signer = await folderSigner(paths.keys)
  await writeTrust(paths.trust, signer.trust)
  const log = {
    store: openFolderStore({ root: paths.store }),
    head: openFolderHead({ root: paths.store }),
  }
  const logger = pino({ level: 'silent' })
  const ledger = openLedger({ ...log, signer, trust: signer.trust, logger })
  for (const n of numbers) await ledger.decide({ id: `${n}`, signable: example('refusal', n) })
}

const anyDigest = 'a'.repeat(64)
type Machine = ReturnType<typeof machine>
/** Each reads the log in its own way; what is no fork is let through. */
const readers = {
  verify: ({ config }) => localVerify(config, anyDigest).catch(letThrough),
  reindex: ({ config }) => localReindex(config),
  prune: ({ config }) => localPrune(config, true),
  backup: ({ config, at }) =>
    localBackup({ config, environment: {}, folder: at('copy') }, without, quiet),
} as const satisfies Record<string, (machine: Machine) => Promise<unknown>>

function letThrough(error: unknown): void {
  if ((error as { code?: string }).code !== 'not_found') throw error
}

/** What somebody put in the place of a log of three entries that the person has seen. */
const replaced = {
  'an older copy of the store': async ({ config: { paths }, at }) => {
    rmSync(paths.store, { recursive: true })
    cpSync(at('old-home/store'), paths.store, { recursive: true })
  },
  'an older copy of the whole home': async ({ config: { home }, at }) => {
    rmSync(home, { recursive: true })
    cpSync(at('old-home'), home, { recursive: true })
  },
  'another continuation of the same length': async ({ config, at }) => {
    rmSync(config.home, { recursive: true })
    cpSync(at('old-home'), config.home, { recursive: true })
    chmodSync(config.paths.keys, 0o700)
    await append(config, 3, 4)
  },
  'another continuation that is longer': async ({ config, at }) => {
    rmSync(config.home, { recursive: true })
    cpSync(at('old-home'), config.home, { recursive: true })
    chmodSync(config.paths.keys, 0o700)
    await append(config, 3, 4, 5)
  },
  'another log, with its trust root': async ({ config }) => {
    rmSync(config.home, { recursive: true })
    await append(config, 1, 2, 3, 4, 5)
  },
  nothing: async ({ config }) => {
    rmSync(config.paths.store, { recursive: true })
    mkdirSync(config.paths.store)
  },
} as const satisfies Record<string, (machine: Machine) => Promise<void>>

/** One entry, kept aside; then three, which the person saw by one of the verbs. */
async function seenThree(look: (machine: Machine) => Promise<unknown>): Promise<Machine> {
  const one = machine()
  await append(one.config, 1)
  cpSync(one.config.home, one.at('old-home'), { recursive: true })
  await append(one.config, 2, 6)
  await look(one)
  return one
}

test.each(Object.keys(replaced) as (keyof typeof replaced)[])(
  '%s is refused by every local reader, and what was seen is not forgotten',
  async (how) => {
    const one = await seenThree((seen) => localFsck(seen.config, quiet))
    const path = memoryPathOf(one.config)
    const before = await readFile(path, 'utf8')
    await replaced[how](one)
    for (const read of Object.values(readers)) {
      await expect(read(one)).rejects.toMatchObject({
        code: 'ledger_forked',
        place: path,
        fix: expect.stringContaining(`rm ${path}`) as string,
      })
    }
    const { problems } = await localFsck(one.config, quiet)
    expect(problems).toEqual([{ place: 'head', message: expect.stringContaining(path) as string }])
    expect(await readFile(path, 'utf8')).toBe(before)
    expect(existsSync(one.at('copy/backup.json'))).toBe(false)
  },
)

test.each(['verify', 'prune', 'backup'] as const)(
  '%s remembers what it was shown, and goes on with a log that goes on',
  async (verb) => {
    const one = await seenThree(readers[verb])
    const path = memoryPathOf(one.config)
    expect((await readFile(path, 'utf8')).split('\n')[1]).toBe('3')
    await append(one.config, 7)
    await readers[verb](one)
    expect((await readFile(path, 'utf8')).split('\n')[1]).toBe('4')
    rmSync(one.config.home, { recursive: true })
    cpSync(one.at('old-home'), one.config.home, { recursive: true })
    expect((await localFsck(one.config, quiet)).problems).toHaveLength(1)
    // A person who knows why says so by removing the file that the message names.
    rmSync(path)
    expect((await localFsck(one.config, quiet)).problems).toEqual([])
  },
)

test('a memory that cannot be read is no reason to believe; one that cannot be written, none to refuse', async () => {
  const one = await seenThree((seen) => localFsck(seen.config, quiet))
  const path = memoryPathOf(one.config)
  writeFileSync(path, 'kiln.local\n9')
  await expect(readers.verify(one)).rejects.toMatchObject({ code: 'ledger_forked', place: path })
  rmSync(join(path, '..'), { recursive: true })
  writeFileSync(join(path, '..'), 'not a folder')
  await expect(readers.verify(one)).rejects.toMatchObject({
    code: 'prerequisite_missing',
    place: path,
  })
  const nowhere = { ...one.config, stateFolder: '/sys/none' }
  expect((await localFsck(nowhere, quiet)).problems).toEqual([])
})

test('a restore says how many entries that were seen are not in its backup', async () => {
  const one = machine()
  await append(one.config, 1)
  await readers.backup(one)
  await append(one.config, 2, 3)
  await localFsck(one.config, quiet)
  rmSync(one.config.home, { recursive: true })
  const back = { config: one.config, environment: {}, folder: one.at('copy') }
  const { entries, lost } = await localRestore(back, without, quiet)
  expect({ entries, lost }).toEqual({
    entries: 1,
    lost: { entries: 2, memory: memoryPathOf(one.config) },
  })
  expect((await localFsck(one.config, quiet)).problems).toHaveLength(1)
})

test('two homes of one origin are remembered apart, and so are two people', () => {
  const paths = [
    { KILN_HOME: '/a', HOME: '/home/ann' },
    { KILN_HOME: '/b', HOME: '/home/ann' },
    { KILN_HOME: '/a', HOME: '/home/bob' },
    { KILN_HOME: '/a', HOME: '/home/bob', XDG_STATE_HOME: '/state' },
    { KILN_HOME: '/a', HOME: '/home/bob', XDG_STATE_HOME: 'not/absolute' },
    { KILN_HOME: '/a' },
  ].map((settings) => memoryPathOf(loadConfig(settings, '/')))
  const folders = [
    '/home/ann/.local/state/kiln',
    '/home/bob/.local/state/kiln',
    '/state/kiln',
    '/a',
  ]
  const [ann, bob, state, home] = folders
  expect(paths.map((path) => path.slice(0, path.indexOf('/seen/')))).toEqual([
    ann,
    ann,
    bob,
    state,
    bob,
    home,
  ])
  expect(new Set(paths).size).toBe(5)
})

test('a collection and a backup of one store wait for each other, and say so', async () => {
  const one = machine()
  await append(one.config, 1)
  const { release } = await lockCollections(one.config)
  const refusal = {
    code: 'already_running',
    message: 'kiln gc or kiln backup is at work on this store',
    place: join(one.config.paths.store, 'gc'),
  }
  await expect(readers.backup(one)).rejects.toMatchObject(refusal)
  await expect(localGc(one.config, true)).rejects.toMatchObject(refusal)
  release()
  expect(await readers.backup(one)).toMatchObject({ entries: 1 })
})
