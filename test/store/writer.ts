/** A process of its own that writes to a folder store: `node writer.ts <mode> <root> [name]`. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { KilnError } from '../../src/domain/error.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { chunks, keys, read } from './keys.ts'

const [mode = '', root = '', name = ''] = process.argv.slice(2)
const store = openFolderStore({ root })

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** 50 objects of its own, and 50 races with whoever else runs. */
async function many(): Promise<void> {
  await Promise.all(
    Array.from({ length: 50 }, async (_, n) => {
      await store.put(`own/${name}-${n}`, Buffer.from(name))
      try {
        await store.put(`shared/${n}`, Buffer.from(name))
        say(`shared/${n}`)
      } catch (error) {
        if (!(error instanceof KilnError) || error.code !== 'digest_mismatch') throw error
      }
    }),
  )
}

async function forever(): Promise<void> {
  await Promise.all([0, 1, 2, 3].map(lane))
}

async function lane(start: number): Promise<void> {
  for (let n = start; ; n += 4) {
    await store.put(`big/${n}`, Buffer.alloc(1_000_000, n))
    say(`big/${n}`)
  }
}

async function outcome(action: Promise<unknown>): Promise<unknown> {
  return await action.catch((error: unknown) =>
    error instanceof KilnError ? { code: error.code, fix: error.fix } : String(error),
  )
}

async function fill(): Promise<void> {
  await store.put('small', Buffer.from('small'))
  const big = Buffer.alloc(1_000_000, 1)
  const put = await outcome(store.put('big', big))
  const blob = await outcome(store.putBlob(chunks(big)))
  const swap = await outcome(openFolderHead({ root }).swap(undefined, big))
  say(
    JSON.stringify({
      put,
      blob,
      swap,
      first: await read(store, 'small'),
      left: readdirSync(join(root, 'tmp')),
      objects: [
        ...readdirSync(root).filter((entry) => entry !== 'tmp'),
        ...(await keys(store, 'blobs/')),
      ],
    }),
  )
}

async function lock(): Promise<void> {
  await lockFolder(root)
  say('locked')
  await new Promise(() => {
    setInterval(() => {}, 1_000)
  })
}

const modes: Readonly<Record<string, () => Promise<void>>> = { many, forever, fill, lock }
await modes[mode]?.()
