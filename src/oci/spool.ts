import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '../domain/digest.ts'
import { digestOfHex } from '../domain/digest.ts'

/** Where content lies in a spool, and what it is. */
export type Spooled = { offset: number; size: number; digest: Digest }

/**
 * A file without a name that holds content while its order is not known yet. Nothing is left of it
 * after `close` or the end of the process, however that comes.
 */
export type Spool = {
  write(body: AsyncIterable<Uint8Array>): Promise<Spooled>
  read(content: Spooled): AsyncGenerator<Uint8Array>
  close(): Promise<void>
}

const windowSize = 1024 * 1024

export async function openSpool(folder: string): Promise<Spool> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `spool-${randomUUID()}`)
  const file = await open(path, 'wx+', 0o600)
  await unlink(path)
  const output = bufferedOutput(file)
  const window = readWindow(file)
  return {
    async write(body) {
      const hash = createHash('sha256')
      const offset = output.size()
      for await (const bytes of body) {
        hash.update(bytes)
        await output.write(bytes)
      }
      return {
        offset,
        size: output.size() - offset,
        digest: digestOfHex(hash.digest('hex')),
      }
    },
    async *read({ offset, size }) {
      await output.flush()
      for (let done = 0; done < size;) {
        const bytes = await window(offset + done, size - done)
        done += bytes.length
        yield bytes
      }
    },
    close: () => file.close(),
  }
}

/** Gathers small writes: an image has tens of thousands of small files. */
function bufferedOutput(file: FileHandle) {
  let waiting: Uint8Array[] = []
  let waitingSize = 0
  let written = 0
  async function flush(): Promise<void> {
    if (waitingSize === 0) return
    const bytes = Buffer.concat(waiting)
    waiting = []
    waitingSize = 0
    for (let at = 0; at < bytes.length;) {
      at += (await file.write(bytes, at, bytes.length - at, written + at)).bytesWritten
    }
    written += bytes.length
  }
  return {
    flush,
    size: () => written + waitingSize,
    async write(bytes: Uint8Array): Promise<void> {
      waiting.push(Uint8Array.from(bytes))
      waitingSize += bytes.length
      if (waitingSize >= windowSize) await flush()
    },
  }
}

/** Reads ahead by a window, since neighbours in the spool are nearly always read after one another. */
function readWindow(file: FileHandle) {
  let start = 0
  let window = Buffer.alloc(0)
  return async (offset: number, most: number): Promise<Uint8Array> => {
    if (offset < start || offset >= start + window.length) {
      const fresh = Buffer.alloc(windowSize)
      const { bytesRead } = await file.read(fresh, 0, windowSize, offset)
      if (bytesRead === 0) throw new Error('the spool is shorter than what was written to it')
      start = offset
      window = fresh.subarray(0, bytesRead)
    }
    return window.subarray(offset - start, offset - start + most)
  }
}
