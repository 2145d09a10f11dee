import { digestOfJson, digestOf } from '../../signing/canonical.ts'
import { hexOf, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Source } from '../domain/statement.ts'
import { openLayer, readImage, type StoredImage } from '../oci/read-image.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Facts, FileFact } from './fact.ts'
import { addLayer } from './layer-facts.ts'
import { distributionOf, packagesOf } from './packages.ts'
import { makeSbomDocument } from './sbom.ts'

export type InspectDependencies = {
  store: BlobStore
  /** The running activity: when to stop, and how to say that work goes on. */
  activity: () => { signal: AbortSignal; heartbeat: () => void }
  /** Kiln's own version. */
  version: string
}

export type InspectActivities = ReturnType<typeof inspectActivities>

export function inspectActivities({ store, activity, version }: InspectDependencies) {
  return {
    /**
     * Reads what is inside an artifact from its layers, not from what anyone says of it, and stores a
     * CycloneDX document. The same artifact and source always give the same digest.
     */
    async makeSbom(input: {
      artifact: Digest
      source: Source
    }): Promise<{ sbom: Digest; components: number }> {
      const { signal, heartbeat } = activity()
      const timer = setInterval(heartbeat, 2000)
      try {
        const facts = await readFacts(store, await readImage(store, input.artifact), signal)
        const { bytes, components } = makeSbomDocument({
          ...input,
          distribution: distributionOf(facts),
          packages: packagesOf(facts),
          version,
        })
        const { digest } = await store.putBlob(once(bytes), digestOf(bytes))
        return { sbom: digest, components }
      } finally {
        clearInterval(timer)
      }
    },
  }
}

/** The facts of all layers; those below the last are kept, since every build on a base shares them. */
async function readFacts(
  store: BlobStore,
  { layers, diffIds }: StoredImage,
  signal: AbortSignal,
): Promise<Facts> {
  let facts: Facts = new Map()
  for (const [at, layer] of layers.entries()) {
    const diffId = diffIds[at]
    if (diffId === undefined) throw new KilnError('invalid_image', 'a layer without a diff id')
    const key = `cache/facts-v1/${hexOf(digestOfJson(diffIds.slice(0, at + 1)))}`
    const last = at === layers.length - 1
    const known = last ? undefined : await store.get(key)
    facts =
      known === undefined
        ? await addLayer(
            facts,
            stoppable(openLayer(store, { digest: layer.digest, diffId }), signal),
          )
        : factsOfBytes(known)
    if (known === undefined && !last) await store.put(key, bytesOfFacts(facts))
  }
  return facts
}

function bytesOfFacts(facts: Facts): Uint8Array {
  return new TextEncoder().encode(
    JSON.stringify([...facts].toSorted(([a], [b]) => (a < b ? -1 : 1))),
  )
}

function factsOfBytes(bytes: Uint8Array): Facts {
  return new Map(JSON.parse(new TextDecoder().decode(bytes)) as [string, FileFact][])
}

async function* stoppable(
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  for await (const chunk of content) {
    signal.throwIfAborted()
    yield chunk
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}
