import { execFile, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openFolderHead, readFolderHead } from '../../src/store/folder-head.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { probeFolder } from '../../src/store/probe-folder.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { storeContract } from './contract.ts'
import { keys, read } from './keys.ts'

const run = promisify(execFile)
const writer = resolve(import.meta.dirname, 'writer.ts')

describe('the folder store', () => {
  storeContract(async () => {
    const root = scratch()
    return { store: openFolderStore({ root }), head: openFolderHead({ root }) }
  })

  test("is probed beside the log's head, which stays as it is", async () => {
    const root = scratch()
    await probeFolder(root)
    expect(await readFolderHead({ root }).read()).toBeUndefined()
    await probeFolder(root)
    expect(readdirSync(root).toSorted()).toEqual(['probe', 'tmp'])
  })

  test('opened for reading it refuses to write', async () => {
    const root = scratch()
    await openFolderStore({ root }).put('a', Buffer.from('a'))
    const store = openFolderStore({ root, readOnly: true })
    expect(await read(store, 'a')).toBe('a')
    await expect(store.put('b', Buffer.from('b'))).rejects.toMatchObject({ code: 'forbidden' })
  })

  test('two processes write one folder: every object is whole, a shared name has one winner', async () => {
    const root = scratch()
    const results = await Promise.all(
      ['one', 'two'].map((name) => run(process.execPath, [writer, 'many', root, name])),
    )
    const won = results.flatMap(({ stdout }) => stdout.split('\n').filter(Boolean))
    expect(won.toSorted()).toEqual(Array.from({ length: 50 }, (_, n) => `shared/${n}`).toSorted())
    const store = openFolderStore({ root })
    expect(await keys(store, 'own/')).toHaveLength(100)
    expect(readdirSync(join(root, 'tmp'))).toEqual([])
  })

  test('kill -9 of a writer leaves no half object, and the next owner clears what it left', async () => {
    const root = scratch()
    const child = spawn(process.execPath, [writer, 'forever', root], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const acknowledged: string[] = []
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged.push(line)
      if (acknowledged.length === 20) child.kill('SIGKILL')
    }
    const store = openFolderStore({ root })
    const found = await keys(store, 'big/')
    expect(found).toEqual(expect.arrayContaining(acknowledged))
    const sizes = await Promise.all(found.map((key) => store.size(key)))
    expect(new Set(sizes)).toEqual(new Set([1_000_000]))
    writeFileSync(join(root, 'tmp', `${child.pid}-left`), 'half of an object')
    writeFileSync(join(root, 'tmp', `${process.pid}-in-use`), 'a living writer')
    const { release } = await lockFolder(root)
    release()
    expect(readdirSync(join(root, 'tmp'))).toEqual([`${process.pid}-in-use`])
  })

  test('a full disk is an outage that says what to free, and leaves what was there', async () => {
    const root = scratch()
    // A file system of its own, in a namespace of its own: it is gone with the child.
    const script = `mount -t tmpfs -o size=256k none "$1" && exec "$2" "$3" fill "$1"`
    const shell = ['--map-root-user', '--mount', 'sh', '-c', script, 'sh']
    const { stdout } = await run('unshare', shell.concat(root, process.execPath, writer))
    expect(JSON.parse(stdout)).toMatchObject({
      put: { code: 'store_unavailable', fix: expect.stringContaining('free space') as unknown },
      blob: { code: 'store_unavailable' },
      swap: { code: 'store_unavailable' },
      first: 'small',
      left: [],
      objects: ['small'],
    })
  })

  test('a put resolves after file and folder are on the disk, in this order', async () => {
    const root = scratch()
    const synced = await recordSyncs(root)
    await openFolderStore({ root }).put('a/b/c', Buffer.from('c'))
    const content = synced.findIndex((path) => path.startsWith('tmp/'))
    expect(content).toBeGreaterThanOrEqual(0)
    // The new folders' names, then the object's.
    expect(synced.slice(content + 1)).toEqual(expect.arrayContaining(['', 'a', 'a/b']))
    expect(synced.at(-1)).toBe('a/b')
  })

  test('many puts into one folder share its sync, and none resolves before a sync of its own link', async () => {
    const root = scratch()
    const store = openFolderStore({ root })
    await store.put('a/first', Buffer.from('first'))
    const linkedAtSync: string[][] = []
    await recordSyncs(root, (path) => {
      if (path === 'a') linkedAtSync.push(readdirSync(join(root, 'a')))
    })
    await Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        await store.put(`a/${n}`, Buffer.from(`${n}`))
        expect(linkedAtSync.some((names) => names.includes(String(n)))).toBe(true)
      }),
    )
    expect(linkedAtSync.length).toBeLessThan(50)
  })
})

describe('the folder head', () => {
  test('keeps a few generations and reads the highest', async () => {
    const root = scratch()
    const head = openFolderHead({ root })
    let seen: string | undefined
    for (let n = 1; n <= 30; n += 1) seen = (await head.swap(seen, Buffer.from(`${n}`))).version
    expect(await readFolderHead({ root }).read()).toEqual({
      bytes: Buffer.from('30'),
      version: '30',
    })
    expect(readdirSync(join(root, 'head'))).toHaveLength(16)
  })

  test('a link to a number that was pruned since does not count', async () => {
    const root = scratch()
    const head = openFolderHead({ root })
    let seen: string | undefined
    for (let n = 1; n <= 3; n += 1) seen = (await head.swap(seen, Buffer.from(`${n}`))).version
    // What a writer sees that looked at 3, slept, and wakes when others are at 40.
    const folder = join(root, 'head')
    const sleeper = head.swap('3', Buffer.from('late'))
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, '000000000040'), 'far ahead')
    await expect(sleeper).rejects.toMatchObject({ code: 'lost_race' })
    expect(Buffer.from((await head.read())?.bytes ?? []).toString()).toBe('far ahead')
  })

  test('refuses versions that are none', async () => {
    const head = openFolderHead({ root: scratch() })
    await expect(head.swap('../1', Buffer.from('x'))).rejects.toMatchObject({
      code: 'invalid_input',
    })
  })
})

describe("the folder's owner", () => {
  test('is one: a second opener hears how to go on, and may follow after a release', async () => {
    const root = scratch()
    const { release } = await lockFolder(root)
    await expect(lockFolder(root)).rejects.toMatchObject({
      code: 'already_running',
      fix: expect.stringContaining('kiln down') as unknown,
    })
    await expect(run(process.execPath, [writer, 'lock', root])).rejects.toMatchObject({
      stderr: expect.stringContaining('already_running') as unknown,
    })
    release()
    ;(await lockFolder(root)).release()
  })

  test('loses the folder by kill -9 of its process', async () => {
    const root = scratch()
    const child = spawn(process.execPath, [writer, 'lock', root], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    for await (const line of createInterface({ input: child.stdout })) {
      expect(line).toBe('locked')
      await expect(lockFolder(root)).rejects.toMatchObject({ code: 'already_running' })
      child.kill('SIGKILL')
    }
    const { release } = await lockFolder(root)
    release()
  })
})

/** The paths below `root` that are synced from now on, in order. */
async function recordSyncs(
  root: string,
  onSync: (path: string) => void = () => {},
): Promise<string[]> {
  const probe = await open(root, 'r')
  const prototype = Object.getPrototypeOf(probe) as {
    fd: number
    sync: () => Promise<void>
  }
  await probe.close()
  const original = prototype.sync
  onTestFinished(() => {
    prototype.sync = original
  })
  const synced: string[] = []
  prototype.sync = async function sync(this: { fd: number }): Promise<void> {
    const path = readlinkSync(`/proc/self/fd/${this.fd}`)
    onSync(relative(root, path))
    await original.call(this as never)
    synced.push(relative(root, path))
  }
  return synced
}
