import { execFile } from 'node:child_process'
import fs, { readlinkSync, rmSync, writeSync } from 'node:fs'
import promises, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'

const run = promisify(execFile)

export type FaultyDisk = {
  /** The calls since the last `failFrom` or `heal`, as `link tmp/…`. */
  calls: string[]
  /**
   * From the nth call on (the first is 0) calls fail with this error: a write after its first half. EIO is
   * one bad answer, so that a caller who does not hear it is found; the others stay until `heal`.
   */
  failFrom(nth: number, code: string): void
  heal(): void
}

type Call = (...input: unknown[]) => unknown
type Calls = Record<string, Call>

/** Puts a disk that can fail below everything that this process writes in the folder, by Node's own file calls. */
export async function faultyDisk(root: string): Promise<FaultyDisk> {
  const disk: FaultyDisk = { calls: [], failFrom: () => {}, heal: () => {} }
  let [from, code] = [Infinity, '']
  const set = (nth: number, next: string) => {
    disk.calls.length = 0
    ;[from, code] = [nth, next]
  }
  disk.failFrom = set
  disk.heal = () => set(Infinity, '')

  /** What the call at this path ends with: an error, or nothing when it goes through. */
  function fault(name: string, at: unknown): Error | undefined {
    const path = pathOf(at)
    if (path === undefined || !`${path}/`.startsWith(`${root}/`)) return undefined
    disk.calls.push(`${name} ${path.slice(root.length + 1)}`)
    const nth = disk.calls.length - 1
    if (nth < from || (code === 'EIO' && nth > from)) return undefined
    return Object.assign(new Error(`${code}: injected, ${name} '${path}'`), { code, syscall: name })
  }
  const restore = patch(fault, await handlePrototype(root))
  onTestFinished(restore)
  return disk
}

type Fault = (name: string, at: unknown) => Error | undefined

function patch(fault: Fault, handle: Calls): () => void {
  const [now, later] = [callsOf(fs), callsOf(promises)]
  const undo = [
    ...['mkdirSync', 'openSync', 'fsyncSync', 'renameSync'].map((name) =>
      replace(now, name, (real) => (...input) => {
        const error = fault(name, input[0])
        if (error !== undefined) throw error
        return real(...input)
      }),
    ),
    replace(now, 'writeFileSync', (real) => (...input) => {
      const error = fault('writeFileSync', input[0])
      if (error === undefined) return real(...input)
      real(input[0], half(input[1]), ...input.slice(2))
      throw error
    }),
    ...['mkdir', 'open', 'link', 'rename'].map((name) =>
      replace(later, name, (real) => async (...input) => {
        const error = fault(name, input[0])
        if (error !== undefined) throw error
        return await real(...input)
      }),
    ),
    replace(handle, 'sync', (real) => {
      return async function sync(this: FileHandle) {
        const error = fault('sync', this.fd)
        if (error !== undefined) throw error
        await real.call(this)
      }
    }),
    replace(handle, 'writeFile', (real) => {
      return async function writeFile(this: FileHandle, content: unknown) {
        const error = fault('write', this.fd)
        await real.call(this, error === undefined ? content : half(content))
        if (error !== undefined) throw error
      }
    }),
  ]
  syncBuiltinESMExports()
  return () => {
    for (const one of undo) one()
    syncBuiltinESMExports()
  }
}

function callsOf(object: unknown): Calls {
  return object as Calls
}

function replace(object: Calls, name: string, by: (real: Call) => Call): () => void {
  const real = object[name]
  if (real === undefined) throw new Error(`no call ${name}`)
  object[name] = by(real)
  return () => void (object[name] = real)
}

async function handlePrototype(root: string): Promise<Calls> {
  const handle = await promises.open(root, 'r')
  await handle.close()
  return callsOf(Object.getPrototypeOf(handle))
}

function pathOf(at: unknown): string | undefined {
  if (typeof at === 'number') return at < 0 ? undefined : readlinkSync(`/proc/self/fd/${at}`)
  return typeof at === 'string' ? at : undefined
}

function half(content: unknown): Uint8Array {
  const bytes = Buffer.from(content as string)
  return bytes.subarray(0, bytes.length / 2)
}

export type SmallDisk = {
  root: string
  /** Takes the last byte. */
  fill(): void
  free(): void
  readOnly(): Promise<void>
  writable(): Promise<void>
}

/** A file system of its own in the folder, gone when the test is over. */
export async function smallDisk(root: string): Promise<SmallDisk> {
  await run('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'kiln-test', root])
  const filler = join(root, 'filler')
  let isReadOnly = false
  const writable = async () => {
    if (isReadOnly) await run('umount', [root])
    isReadOnly = false
  }
  onTestFinished(async () => {
    await writable()
    // Lazily: a lock of the test's may still be open.
    await run('umount', ['-l', root])
  })
  return {
    root,
    fill: () => fillUp(filler),
    free: () => rmSync(filler),
    // Mounted again on itself, since a lock stays open for writing below.
    async readOnly() {
      await run('mount', ['--bind', root, root])
      isReadOnly = true
      await run('mount', ['-o', 'remount,bind,ro', root])
    },
    writable,
  }
}

function fillUp(path: string): void {
  const file = fs.openSync(path, 'w')
  try {
    for (const size of [1_048_576, 4096]) {
      while (writeSync(file, Buffer.alloc(size)) === size);
    }
    for (;;) writeSync(file, Buffer.alloc(1))
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' })
  } finally {
    fs.closeSync(file)
  }
}

/** What it says to the person who has to free or mend the disk. */
export function expectDiskError(error: unknown, root: string, code: string): void {
  expect(error).toBeInstanceOf(KilnError)
  const fix = { ENOSPC: 'free space', EDQUOT: 'quota', EROFS: 'mount', EIO: 'dmesg' }[code]
  expect(error).toMatchObject({
    code: 'store_unavailable',
    retryable: true,
    place: expect.stringContaining(root),
    message: expect.stringMatching(
      new RegExp(`^the disk refuses \\(${code}\\), [\\d.]+ [KMGT]?i?B free: ${root}`),
    ),
    fix: expect.stringContaining(fix ?? 'none'),
  })
}
