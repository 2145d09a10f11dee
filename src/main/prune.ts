import { join } from 'node:path'
import { isBuilding } from '../build/engine-marks.ts'
import { baseRepository, fetchRepository } from '../build/names.ts'
import type { CheckedTemplate } from '../domain/template.ts'
import type { Digest } from '../domain/digest.ts'
import { neededArtifacts } from '../domain/keep.ts'
import type { Ledger } from '../domain/ledger.ts'
import type { DockerClient } from '../docker/client.ts'
import { ownImages, releaseImage, type OwnImage } from '../docker/prune.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { beyondBounds, entriesOf, removeEntries, type Bounds } from '../store/bounded-folder.ts'
import type { Config } from './config.ts'

/** One thing that went, or would go. */
export type Pruned = { kind: 'image' | 'log' | 'cache'; name: string; bytes: number }

export type PruneInput = {
  config: Config
  store: BlobStore
  ledger: () => Promise<Ledger>
  now: () => Date
  dryRun: boolean
}

const minute = 60_000
const day = 24 * 60 * minute

/** Of the engine that runs instances: every image that no environment needs. */
export async function pruneInstanceImages(
  docker: DockerClient,
  { config, ledger, dryRun }: PruneInput,
): Promise<Pruned[]> {
  // The engine first: an image that is there was pulled under a key that the ledger holds by now.
  const found = await ownImages(docker, `127.0.0.1:${config.ports.registry}`)
  const needed = neededArtifacts(await ledger(), config.keep.good)
  return release(docker, unneeded(found, needed), dryRun)
}

/** Of the engine that builds: base images of templates that nothing sealed and needed was made with. */
export async function pruneBuildImages(
  docker: DockerClient,
  { config, store, ledger, dryRun }: PruneInput,
): Promise<Pruned[]> {
  const address = `127.0.0.1:${config.ports.buildRegistry}`
  const own = [`${address}/${baseRepository}@`, `${address}/${fetchRepository}@`]
  const found = (await ownImages(docker, address)).filter(({ reference }) =>
    own.some((beginning) => reference.startsWith(beginning)),
  )
  if (found.length === 0 || (await isBuilding(docker, config.hostName))) return []
  return release(
    docker,
    unneeded(found, await neededBases(store, await ledger(), config.keep.good)),
    dryRun,
  )
}

function unneeded(found: readonly OwnImage[], needed: ReadonlySet<Digest>): OwnImage[] {
  return found.filter(({ digest }) => !needed.has(digest))
}

/** The bases of the newest template of each name, and of every artifact that is needed. */
async function neededBases(
  store: BlobStore,
  ledger: Ledger,
  good: number,
): Promise<ReadonlySet<Digest>> {
  const artifacts = neededArtifacts(ledger, good)
  const newest = new Map<string, Digest>()
  const locks = new Set<Digest>()
  for (const [digest, { body }] of ledger.sealed) {
    newest.set(body.template.name, body.template.lock)
    if (artifacts.has(digest)) locks.add(body.template.lock)
  }
  const bases = new Set<Digest>()
  for (const lock of [...locks, ...newest.values()]) {
    const bytes = await store.get(`templates/checked/${lock.slice('sha256:'.length)}`)
    if (bytes === undefined) continue
    const { images } = JSON.parse(new TextDecoder().decode(bytes)) as CheckedTemplate
    bases.add(images.base)
    if (images.fetch !== null) bases.add(images.fetch)
  }
  return bases
}

async function release(
  docker: DockerClient,
  images: readonly OwnImage[],
  dryRun: boolean,
): Promise<Pruned[]> {
  const gone: Pruned[] = []
  for (const { reference, bytes } of images) {
    if (dryRun || (await releaseImage(docker, reference))) {
      gone.push({ kind: 'image', name: reference, bytes })
    }
  }
  return gone
}

/** Logs of builds and instances, by age and size. */
export async function pruneLogs({ config, now, dryRun }: PruneInput): Promise<Pruned[]> {
  const { logDays, logBytes } = config.keep
  const bounds = { maxAgeMs: logDays * day, maxBytes: logBytes, youngMs: 60 * minute }
  const { buildLogs, instanceLogs } = config.paths
  return [
    ...(await bound('log', { folder: buildLogs, bounds, now, dryRun })),
    ...(await bound('log', { folder: instanceLogs, bounds, now, dryRun })),
  ]
}

/** What builds made for themselves and can make again: indexes of bases, mirrors, what died half done. */
export async function pruneCaches({ config, now, dryRun }: PruneInput): Promise<Pruned[]> {
  const { paths, keep } = config
  const caches = { maxAgeMs: keep.cacheDays * day, maxBytes: keep.cacheBytes, youngMs: 60 * minute }
  // A build lasts two hours at most: what lies here longer belongs to none.
  const remains = { maxAgeMs: 180 * minute, maxBytes: Infinity, youngMs: 180 * minute }
  const at = (folder: string, bounds: Bounds, depth = 1) =>
    bound('cache', { folder, bounds, now, dryRun, depth })
  return [
    ...(await at(join(paths.work, 'cache'), caches)),
    ...(await at(paths.source, caches, 2)),
    ...(await at(join(paths.work, 'builds'), remains)),
  ]
}

async function bound(
  kind: Pruned['kind'],
  input: { folder: string; bounds: Bounds; now: () => Date; dryRun: boolean; depth?: number },
): Promise<Pruned[]> {
  const entries = await entriesOf(input.folder, input.depth ?? 1)
  const going = beyondBounds(entries, input.bounds, input.now().getTime())
  if (!input.dryRun) await removeEntries(going)
  return going.map(({ path, bytes }) => ({ kind, name: path, bytes }))
}
