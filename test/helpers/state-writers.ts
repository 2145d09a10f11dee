import { copyFileSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createHash } from 'node:crypto'
import { digestOfHex } from '../../src/domain/digest.ts'
import { openEdge } from '../../src/edge/edge.ts'
import { withPort } from '../../src/edge/state.ts'
import { readState, writeState } from '../../src/main/supervisor/state.ts'
import { openFence, type HostFence } from '../../src/runtime/fence.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { scratch } from './store-scratch.ts'
import { chunks, keys } from '../store/keys.ts'

/** One writer of state, opened on a folder. `read` opens what is on the disk anew. */
export type StateWriter = {
  write(n: number): Promise<unknown>
  /** What the disk holds, as the numbers that were written; fails when anything in it is half. */
  read(): Promise<readonly number[]>
  close?: () => void
}

const content = (n: number) => Buffer.alloc(150_000, `${n} `)
const digest = (n: number) => digestOfHex(createHash('sha256').update(content(n)).digest('hex'))
const environment = 'hello/prod'

/** The number whose content this is, whole. */
function numberOf(bytes: Uint8Array | undefined): number {
  const n = Number.parseInt(Buffer.from(bytes ?? []).toString('utf8', 0, 8), 10)
  if (!content(n).equals(bytes ?? new Uint8Array())) throw new Error('not a whole content')
  return n
}

export const stateWriters: Readonly<Record<string, (root: string) => Promise<StateWriter>>> = {
  async blob(root) {
    const store = openFolderStore({ root })
    return {
      write: (n) => store.putBlob(chunks(content(n)), digest(n)),
      read: () => numbersIn(root, 'blobs/'),
    }
  },
  async object(root) {
    const store = openFolderStore({ root })
    return {
      write: (n) => store.put(`some/${n}/deep`, content(n)),
      read: () => numbersIn(root, 'some/'),
    }
  },
  async head(root) {
    const head = openFolderHead({ root })
    return {
      write: async (n) => head.swap((await head.read())?.version, content(n)),
      async read() {
        const found = await openFolderHead({ root }).read()
        return found === undefined ? [] : upTo(numberOf(found.bytes))
      },
    }
  },
  async 'host fence'(root) {
    const fence = await openFence({ folder: root })
    return {
      write: (n) => fence.note(environment, (record) => ({ ...record, epoch: n })),
      read: () => afterRestart(root, (after) => upTo(after.record(environment).epoch)),
      close: () => fence.close(),
    }
  },
  async 'host denials'(root) {
    const fence = await openFence({ folder: root })
    return {
      write: (n) => fence.deny([digest(n)]),
      read: () => afterRestart(root, (after) => [1, 2, 3].filter((n) => after.isDenied(digest(n)))),
      close: () => fence.close(),
    }
  },
  async edge(root) {
    const at = (name: string) => join(root, name)
    const paths = { config: at('haproxy.cfg'), state: at('state.json'), map: at('ready.map') }
    const sockets = { socket: at('edge.sock'), masterSocket: at('master.sock') }
    const edge = openEdge({ paths: { ...paths, ...sockets }, entrance: null }, () => {})
    return {
      write: (n) => edge.write((state) => withPort(state, environment, 20_000 + n)),
      read: async () => upTo(((await edge.read()).environments[0]?.port ?? 20_000) - 20_000),
    }
  },
  async supervisor(root) {
    mkdirSync(join(root, 'run'), { recursive: true })
    const state = { version: 1, startToken: '', since: '', failure: null } as const
    return {
      write: async (n) => writeState(root, { ...state, pid: n, phase: 'ready', processes: [] }),
      read: async () => upTo(readState(root)?.pid ?? 0),
    }
  },
}

/** What a host would remember that is opened on this memory; the one that is open goes on. */
async function afterRestart<T>(root: string, look: (fence: HostFence) => T): Promise<T> {
  const folder = scratch()
  for (const name of readdirSync(root).filter((one) => one.endsWith('.json'))) {
    copyFileSync(join(root, name), join(folder, name))
  }
  const fence = await openFence({ folder })
  try {
    return look(fence)
  } finally {
    fence.close()
  }
}

/** A writer that replaces what it wrote holds the last number only. */
function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, n) => n + 1)
}

async function numbersIn(root: string, prefix: string): Promise<number[]> {
  const store = openFolderStore({ root })
  const found = await Promise.all((await keys(store, prefix)).map((key) => store.get(key)))
  return found.map(numberOf).toSorted((a, b) => a - b)
}
