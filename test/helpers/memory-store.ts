import { createHash } from 'node:crypto'
import { digestOfHex } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import { blobKey, type AgingStore, type HeadStore } from '../../src/store/blob-store.ts'
import { checkKey, checkPrefix } from '../../src/store/key.ts'

/**
 * What happens to one write: `lost`: nothing was stored; `landed`: it was stored, and the caller hears
 * of a failure all the same.
 */
export type Fault = 'lost' | 'landed' | undefined
export type FaultPlan = (write: {
  kind: 'put' | 'blob' | 'swap' | 'renew' | 'remove'
  key: string
}) => Fault

export type MemoryStore = {
  store: AgingStore
  head: HeadStore
  objects: Map<string, Uint8Array>
  /** When each object was written or renewed last, ms since 1970. */
  touched: Map<string, number>
}

/** The store's contract in memory, broken on demand. Writes yield, so that writers interleave. */
export function memoryStore(
  fault: FaultPlan = () => undefined,
  now: () => number = Date.now,
): MemoryStore {
  const objects = new Map<string, Uint8Array>()
  const touched = new Map<string, number>()

  async function write(kind: 'put' | 'blob', key: string, bytes: Uint8Array): Promise<void> {
    checkKey(key)
    await tick()
    const broken = fault({ kind, key })
    if (broken === 'lost') throw unheard(key)
    const present = objects.get(key)
    if (present !== undefined && Buffer.compare(present, bytes) !== 0) {
      throw new KilnError('digest_mismatch', `${key} already holds other bytes`)
    }
    if (present === undefined) touched.set(key, now())
    objects.set(key, Uint8Array.from(bytes))
    if (broken === 'landed') throw unheard(key)
  }

  const store: AgingStore = {
    put: (key, bytes) => write('put', key, bytes),
    async get(key) {
      checkKey(key)
      await tick()
      const bytes = objects.get(key)
      return bytes && Uint8Array.from(bytes)
    },
    async size(key) {
      checkKey(key)
      return objects.get(key)?.length
    },
    async putBlob(content, expected) {
      const chunks: Uint8Array[] = []
      for await (const chunk of content) chunks.push(chunk)
      const bytes = Buffer.concat(chunks)
      const digest = digestOfHex(createHash('sha256').update(bytes).digest('hex'))
      if (expected !== undefined && digest !== expected) {
        throw new KilnError('digest_mismatch', `content is ${digest}, expected ${expected}`)
      }
      await write('blob', blobKey(digest), bytes)
      return { digest, size: bytes.length }
    },
    async readBlob(digest, range) {
      const bytes = objects.get(blobKey(digest))
      return bytes && once(range ? bytes.slice(range.start, range.end + 1) : bytes)
    },
    async *list(prefix) {
      checkPrefix(prefix)
      yield* [...objects.keys()].filter((key) => key.startsWith(prefix))
    },
    async *entries(prefix) {
      checkPrefix(prefix)
      for (const [key, { length: size }] of [...objects].filter(([at]) => at.startsWith(prefix))) {
        yield { key, size, touchedAt: touched.get(key) ?? 0 }
      }
    },
    async touchedAt(key) {
      await tick()
      return objects.has(key) ? (touched.get(key) ?? 0) : undefined
    },
    async renew(key) {
      await tick()
      const broken = fault({ kind: 'renew', key })
      if (broken !== 'lost' && objects.has(key)) touched.set(key, now())
      if (broken !== undefined) throw unheard(key)
      return objects.has(key)
    },
    async remove(key) {
      await tick()
      const broken = fault({ kind: 'remove', key })
      if (broken !== 'lost') objects.delete(key)
      if (broken !== undefined) throw unheard(key)
    },
  }
  return { store, head: memoryHead(fault), objects, touched }
}

function memoryHead(fault: FaultPlan): HeadStore {
  let current: { bytes: Uint8Array; version: string } | undefined
  return {
    async read() {
      await tick()
      return current
    },
    async swap(seen, bytes) {
      await tick()
      const broken = fault({ kind: 'swap', key: 'head' })
      if (broken === 'lost') throw unheard('head')
      const repeated =
        current !== undefined &&
        current.version !== seen &&
        Buffer.compare(current.bytes, bytes) === 0
      if (!repeated) {
        if (current?.version !== seen) throw new KilnError('lost_race', 'another writer was first')
        current = { bytes, version: String(Number(seen ?? '0') + 1) }
      }
      if (broken === 'landed') throw unheard('head')
      return { version: current?.version ?? '' }
    },
  }
}

async function tick(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

function unheard(key: string): KilnError {
  return new KilnError('store_unavailable', `no answer for ${key}`)
}
