import { toBase64 } from '../../signing/base64.ts'
import { verifyCheckpoint, type Checkpoint } from '../../signing/checkpoint.ts'
import { emptyRoot, leafHash, rootOf } from '../../signing/merkle.ts'
import { publicKeyOf } from '../../signing/public-key.ts'
import { derOf } from '../../signing/trust.ts'
import { checkBlobs } from './fsck-blobs.ts'
import { checkBundles } from './fsck-bundles.ts'
import { messageOf, type FsckDeps, type Problem } from './fsck-report.ts'
import { checkStaging, checkTiles } from './fsck-tiles.ts'
import { readTiles, tileKey, tileWidth } from './tiles.ts'

export type FsckReport = {
  entries: number
  /** How many of them are by keys that are not Kiln's. */
  foreign: number
  /** The root of all entries, derived again; base64. */
  root: string
  problems: Problem[]
}

/**
 * Derives the whole log again from its entries and compares everything with it: the checkpoint, every
 * tile, the bundle of every leaf that one of Kiln's keys made, every signature, and the blobs that
 * sealed records name. Reads only. A flipped byte in any of these is found; nothing is repaired.
 */
export async function fsck(input: Omit<FsckDeps, 'report'>): Promise<FsckReport> {
  const problems: Problem[] = []
  const deps: FsckDeps = {
    ...input,
    report: (place, message) => void problems.push({ place, message }),
  }
  const head = await input.head.read()
  const checkpoint = readCheckpoint(deps, head?.bytes)
  const entries = await readEntries(deps, checkpoint.size)
  const { hashes, root } = await deriveHashes(deps, entries, checkpoint)
  const stagedTiles = await checkStaging(deps, hashes)
  const unmoved = async (): Promise<boolean> => (await input.head.read())?.version === head?.version
  await checkTiles(deps, { hashes, stagedTiles, unmoved })
  const { facts, foreign } = await checkBundles(deps, entries)
  await checkBlobs(deps, facts)
  return { entries: entries.length, foreign, root: toBase64(root), problems }
}

function readCheckpoint(
  { trust, report }: FsckDeps,
  bytes: Uint8Array | undefined,
): Pick<Checkpoint, 'size' | 'root'> {
  if (bytes === undefined) return { size: 0, root: emptyRoot() }
  try {
    const log = { origin: trust.origin, publicKey: publicKeyOf(derOf(trust.logKey)) }
    const note = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return verifyCheckpoint(note, log)
  } catch (error) {
    report('head', error instanceof TypeError ? 'not text' : messageOf(error))
    return { size: 0, root: emptyRoot() }
  }
}

/** As many entries as can be read; what cannot is null. */
async function readEntries(
  { store, report }: FsckDeps,
  size: number,
): Promise<(Uint8Array | null)[]> {
  const entries: (Uint8Array | null)[] = []
  for (let from = 0; from < size; from += tileWidth) {
    const to = Math.min(size, from + tileWidth)
    try {
      for await (const tile of readTiles(store, 'entries', { from, to })) entries.push(...tile)
    } catch (error) {
      report(
        tileKey({ level: 'entries', index: from / tileWidth, width: to - from }),
        messageOf(error),
      )
      while (entries.length < to) entries.push(null)
    }
  }
  return entries
}

/**
 * The leaf hashes that give the signed root: those of the entries, or, where an entry is damaged, those
 * that its tile of hashes holds.
 */
async function deriveHashes(
  { store, report }: FsckDeps,
  entries: readonly (Uint8Array | null)[],
  checkpoint: Pick<Checkpoint, 'size' | 'root'>,
): Promise<{ hashes: Uint8Array[]; root: Uint8Array }> {
  const hashes = entries.map((entry) => leafHash(entry ?? Buffer.alloc(0)))
  const root = rootOf(hashes)
  if (Buffer.compare(root, checkpoint.root) === 0) return { hashes, root }
  report('head', 'the entries do not give the root that the log signed')
  const tiled: Uint8Array[] = []
  try {
    for await (const tile of readTiles(store, 0, { from: 0, to: checkpoint.size })) {
      tiled.push(...tile)
    }
  } catch (error) {
    report('tile/0', messageOf(error))
  }
  return Buffer.compare(rootOf(tiled), checkpoint.root) === 0
    ? { hashes: tiled, root }
    : { hashes, root }
}
