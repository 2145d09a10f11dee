import { publicKeyOf } from '../../signing/public-key.ts'
import { verifyCheckpoint, type Checkpoint } from '../../signing/checkpoint.ts'
import { derOf, type TrustRoot } from '../../signing/trust.ts'
import { KilnError } from '../domain/error.ts'
import type { BlobStore, HeadStore } from '../store/blob-store.ts'
import { readTiles } from './tiles.ts'
import { emptyTree, type Tree } from './tree.ts'

/** The log's head: the signed note, and the version to swap it against. Null while the log is empty. */
export type Head = { note: string; version: string } | null

/** The log as far as this process has seen it; what it saw never changes and never gets shorter. */
export type LogView = {
  readonly tree: Tree
  /** Size of the head's tree. The tree itself may hold more while an append is under way. */
  readonly size: number
  readonly head: Head
  /**
   * Reads the head again, checks its signature, and rebuilds its root from the leaf hashes in the tiles.
   * Throws `ledger_forked` on a log that is shorter than seen or not its continuation, `ledger_corrupt`
   * on tiles that do not give the signed root.
   */
  refresh(): Promise<void>
  /** Takes over a head that this process has just swapped in, whose leaves are in the tree. */
  accept(head: NonNullable<Head>, size: number): void
}

export function openLogView(deps: {
  store: BlobStore
  head: Pick<HeadStore, 'read'>
  trust: TrustRoot
  /** A signed note that an earlier run of this process saw: the log must have it as its beginning. */
  seen?: string
}): LogView {
  const { store, trust } = deps
  const log = { origin: trust.origin, publicKey: publicKeyOf(derOf(trust.logKey)) }
  const tree = emptyTree()
  let size = 0
  let head: Head = null
  const seen = deps.seen === undefined ? null : verifyCheckpoint(deps.seen, log)

  /** On failure the tree holds more than was accepted; every user of it cuts it first. */
  async function grow(checkpoint: Checkpoint): Promise<void> {
    tree.cut(size)
    const range = { from: size, to: checkpoint.size }
    for await (const hashes of readTiles(store, 0, range)) tree.grow(hashes)
    if (Buffer.compare(tree.root(checkpoint.size), checkpoint.root) !== 0) {
      throw await explainRoot(store, checkpoint)
    }
    if (seen !== null && Buffer.compare(tree.root(seen.size), seen.root) !== 0) {
      throw forked('it does not begin as before')
    }
  }

  async function refresh(): Promise<void> {
    const found = await deps.head.read()
    if (found === undefined) {
      if (head !== null || seen !== null) throw forked('the head is gone')
      return
    }
    if (found.version === head?.version) return
    const note = Buffer.from(found.bytes).toString('utf8')
    const checkpoint = verifyCheckpoint(note, log)
    const least = Math.max(size, seen?.size ?? 0)
    if (checkpoint.size < least) {
      throw forked(`it has ${checkpoint.size} entries, and ${least} were seen`)
    }
    await grow(checkpoint)
    size = checkpoint.size
    head = { note, version: found.version }
  }

  return {
    tree,
    get size() {
      return size
    },
    get head() {
      return head
    },
    refresh,
    accept(next, nextSize) {
      head = next
      size = nextSize
    },
  }
}

/** The root is not that of the tiles: either they are damaged, or they are those of another log. */
async function explainRoot(
  store: BlobStore,
  checkpoint: { size: number; root: Uint8Array },
): Promise<KilnError> {
  const whole = emptyTree()
  for await (const hashes of readTiles(store, 0, { from: 0, to: checkpoint.size })) {
    whole.grow(hashes)
  }
  if (Buffer.compare(whole.root(checkpoint.size), checkpoint.root) === 0) {
    return forked('it does not continue what was seen')
  }
  return new KilnError('ledger_corrupt', 'the tiles do not give the root that the log signed', {
    place: 'tile/0',
    fix: 'kiln fsck lists everything that is wrong; restore the store from its backup',
  })
}

export function forked(what: string): KilnError {
  return new KilnError('ledger_forked', `the log is not the one seen before: ${what}`, {
    place: 'head',
    fix: 'stop Kiln and find out who replaced the store; restore the newest backup of it',
  })
}
