import { digestOfHex, isDigest, type Digest } from '../domain/digest.ts'
import { inParallel } from '../store/in-parallel.ts'
import { blobKey, type AgedObject, type AgingStore } from '../store/blob-store.ts'

/**
 * Where a collection may remove, in the order in which it does: first that an artifact is one of a
 * repository's, last its content. Nothing else is ever removed: not the log, its tiles and bundles, not what is
 * said of templates, and not what requests were made.
 */
export const collectedPrefixes = ['repositories/', 'referrers/', 'cache/', 'blobs/'] as const

/** What is in the store, as far as a collection must know. */
export type Inventory = {
  objects: ReadonlyMap<string, AgedObject>
  /** What each manifest names, of repositories and of templates' images; absent where its bytes are not in the store. */
  manifests: ReadonlyMap<Digest, readonly Digest[]>
  /** What the checked template of a lock names. */
  templates: ReadonlyMap<Digest, readonly Digest[]>
  /** What an image of a template was made of. */
  inputs: ReadonlyMap<Digest, readonly Digest[]>
  /** Artifacts that were collected before. */
  collected: ReadonlySet<Digest>
}

/**
 * Reads it. Every digest that stands anywhere in a manifest or a record counts as named by it: a field that
 * this version does not know keeps what it names.
 */
export async function readInventory(store: AgingStore): Promise<Inventory> {
  const objects = new Map<string, AgedObject>()
  for (const prefix of collectedPrefixes) {
    for await (const one of store.entries(prefix)) objects.set(one.key, one)
  }
  const none = { manifests: new Map(), templates: new Map() }
  return { objects, ...(await readNames(store, objects.keys(), none)) }
}

/**
 * The same as it is now, but for blobs and caches: of those only `batch` is looked at again. What names
 * something is content by its digest, and read once.
 */
export async function refreshInventory(
  store: AgingStore,
  known: Inventory,
  batch: readonly AgedObject[],
): Promise<Inventory> {
  const objects = new Map([...known.objects].filter(([key]) => !isMarker(key)))
  for (const prefix of markers) {
    for await (const one of store.entries(prefix)) objects.set(one.key, one)
  }
  await inParallel(batch, 8, async (one) => {
    const touchedAt = await store.touchedAt(one.key)
    if (touchedAt === undefined) objects.delete(one.key)
    else objects.set(one.key, { ...one, touchedAt })
  })
  return { objects, ...(await readNames(store, objects.keys(), known)) }
}

const markers = collectedPrefixes.slice(0, 2)

function isMarker(key: string): boolean {
  return markers.some((prefix) => key.startsWith(prefix))
}

async function readNames(
  store: AgingStore,
  keys: Iterable<string>,
  known: Pick<Inventory, 'manifests' | 'templates'>,
): Promise<Omit<Inventory, 'objects'>> {
  const collected = new Set<Digest>()
  for await (const key of store.list('collected/')) add(collected, digestAtEnd(key))
  const templates = new Map(known.templates)
  for await (const key of store.list('templates/checked/')) {
    const lock = digestAtEnd(key)
    if (lock !== null && !templates.has(lock)) templates.set(lock, digestsIn(await store.get(key)))
  }
  const inputs = await readInputs(store)
  const images = new Set<Digest>(inputs.keys())
  for (const key of keys) add(images, markedBy(key))
  const manifests = new Map(known.manifests)
  for (const image of images) {
    if (manifests.has(image)) continue
    const bytes = await store.get(blobKey(image))
    if (bytes !== undefined) manifests.set(image, digestsIn(bytes))
  }
  return { manifests, templates, inputs, collected }
}

function add(digests: Set<Digest>, digest: Digest | null): void {
  if (digest !== null) digests.add(digest)
}

async function readInputs(store: AgingStore): Promise<Map<Digest, readonly Digest[]>> {
  const inputs = new Map<Digest, readonly Digest[]>()
  for await (const key of store.list('templates/images/')) {
    const text = new TextDecoder().decode(await store.get(key))
    const { images } = JSON.parse(text) as { images?: unknown }
    for (const image of digestsIn(JSON.stringify(images ?? null))) {
      inputs.set(image, [...(inputs.get(image) ?? []), ...digestsIn(text)])
    }
  }
  return inputs
}

/** The manifest that `repositories/<name>/<hex>` says to be the repository's; null for other keys. */
export function markedBy(key: string): Digest | null {
  return key.startsWith('repositories/') ? digestAtEnd(key) : null
}

/** The digest that a key ends in; null when it does not. */
export function digestAtEnd(key: string): Digest | null {
  const hex = key.slice(key.lastIndexOf('/') + 1)
  return isDigest(`sha256:${hex}`) ? digestOfHex(hex) : null
}

/** Every digest that stands in some text, each once. */
export function digestsIn(content: Uint8Array | string | undefined): readonly Digest[] {
  const text = typeof content === 'string' ? content : new TextDecoder().decode(content)
  return [...new Set(text.match(/sha256:[0-9a-f]{64}/g) ?? [])] as Digest[]
}
