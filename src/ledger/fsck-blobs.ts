import { createHash } from 'node:crypto'
import { z } from 'zod'
import { digestOfHex, hexOf, isDigest, type Digest } from '../domain/digest.ts'
import { foldAll } from '../domain/ledger.ts'
import { leases, type Lease } from '../domain/lease.ts'
import type { Fact } from '../domain/statement.ts'
import { blobKey } from '../store/blob-store.ts'
import { wasCollected } from '../store/collected.ts'
import type { FsckDeps } from './fsck-report.ts'

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value))
const manifestSchema = z.object({
  config: z.object({ digest }),
  layers: z.array(z.object({ digest })),
})

/** Reads every blob that sealed records name, and what their manifests name, and hashes it again. */
export async function checkBlobs(deps: FsckDeps, facts: readonly Fact[]): Promise<void> {
  // What people may choose to return to may have been collected; what is stored or serves may not.
  const leased = leases(foldAll(facts), { good: 0, since: Infinity })
  const checked = new Set<Digest>()
  const check = async (blob: Digest): Promise<boolean> => {
    if (checked.has(blob)) return true
    checked.add(blob)
    return await checkBlob(deps, blob)
  }
  for (const fact of facts) {
    if (fact.kind !== 'sealed' || fact.artifact === null) continue
    const { app, files, specification, pipeline } = fact.body
    for (const blob of [specification, ...pipeline.map((step) => step.definition)]) {
      await check(blob)
    }
    if (await isCollected(deps, app, fact.artifact)) {
      const lease = leased.get(fact.artifact)
      if (lease !== undefined) reportLeased(deps, fact.artifact, lease)
      continue
    }
    await check(files)
    const manifest = (await check(fact.artifact)) ? await readManifest(deps, fact.artifact) : []
    for (const blob of manifest) await check(blob)
  }
}

/** As the registry sees it: no repository has it, and it is on record that it was collected. */
async function isCollected({ store }: FsckDeps, app: string, artifact: Digest): Promise<boolean> {
  const marker = `repositories/${app}/${hexOf(artifact)}`
  return (await store.size(marker)) === undefined && (await wasCollected(store, artifact))
}

function reportLeased({ report }: FsckDeps, artifact: Digest, lease: Lease): void {
  const { environment, reason } = lease
  report(blobKey(artifact), `it was collected, and ${environment} needs it: ${reason}`)
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
