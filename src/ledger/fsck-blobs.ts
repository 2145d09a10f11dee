import { createHash } from 'node:crypto'
import { z } from 'zod'
import { digestOfHex, isDigest, type Digest } from '../domain/digest.ts'
import type { Fact } from '../domain/statement.ts'
import { blobKey } from '../store/blob-store.ts'
import type { FsckDeps } from './fsck-report.ts'

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value))
const manifestSchema = z.object({
  config: z.object({ digest }),
  layers: z.array(z.object({ digest })),
})

/** Reads every blob that sealed records name, and what their manifests name, and hashes it again. */
export async function checkBlobs(deps: FsckDeps, facts: readonly Fact[]): Promise<void> {
  const checked = new Set<Digest>()
  const check = async (blob: Digest): Promise<boolean> => {
    if (checked.has(blob)) return true
    checked.add(blob)
    return await checkBlob(deps, blob)
  }
  for (const fact of facts) {
    if (fact.kind !== 'sealed' || fact.artifact === null) continue
    const { files, specification, pipeline } = fact.body
    for (const blob of [files, specification, ...pipeline.map((step) => step.definition)]) {
      await check(blob)
    }
    const manifest = (await check(fact.artifact)) ? await readManifest(deps, fact.artifact) : []
    for (const blob of manifest) await check(blob)
  }
}

async function checkBlob({ store, report }: FsckDeps, blob: Digest): Promise<boolean> {
  const content = await store.readBlob(blob)
  if (content === undefined) {
    report(blobKey(blob), 'missing')
    return false
  }
  const hash = createHash('sha256')
  for await (const chunk of content) hash.update(chunk)
  const found = digestOfHex(hash.digest('hex'))
  if (found !== blob) report(blobKey(blob), `holds ${found}`)
  return found === blob
}

async function readManifest({ store, report }: FsckDeps, artifact: Digest): Promise<Digest[]> {
  const bytes = (await store.get(blobKey(artifact))) ?? Buffer.alloc(0)
  try {
    const { config, layers } = manifestSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')))
    return [config.digest, ...layers.map((layer) => layer.digest)]
  } catch {
    report(blobKey(artifact), 'not an image manifest')
    return []
  }
}
