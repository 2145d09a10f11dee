import type { Digest } from '../domain/digest.ts'
import { predicateTypeOf } from '../domain/role.ts'
import type { LedgerWriter } from '../ledger/ledger-writer.ts'
import { manifestMarker } from '../registry/catalog.ts'
import { wasCollected } from '../store/collected.ts'
import type { HeldStore } from '../store/held-store.ts'

type Artifact = { app: string; digest: Digest }

/** What is asked before an artifact is promoted, delivered or built again. */
export function keptArtifacts({
  store,
  ledger,
  origin,
}: {
  store: HeldStore
  ledger: Pick<LedgerWriter, 'facts' | 'publishedBundle'>
  origin: string
}) {
  /** What is there is held: no collection takes it while it is about to be started. */
  const isGone = async ({ app, digest }: Artifact): Promise<boolean> =>
    !(await store.hold(manifestMarker(app, digest)))
  return {
    isGone,
    async gone(artifact: Artifact): Promise<{ message: string; fix: string } | null> {
      if (!(await isGone(artifact))) return null
      const { digest } = artifact
      if (await wasCollected(store, digest)) {
        return {
          message: `${digest} was collected: no environment could return to it any more`,
          fix: `build it again, then try again: kiln rebuild ${digest}`,
        }
      }
      return { message: `${digest} is missing in the registry`, fix: 'kiln fsck' }
    },
    async bundlesOf(artifact: Digest) {
      const about = ledger.facts().filter((fact) => fact.artifact === artifact)
      const published = about.filter(({ kind }) => attached.has(kind))
      return Promise.all(
        published.map(async ({ kind, leaf, time }) => ({
          key: (await ledger.publishedBundle(leaf)).key,
          predicateType: predicateTypeOf(kind, origin),
          created: time,
        })),
      )
    },
  }
}

/** What is attached to an artifact as it is built and promoted. */
const attached: ReadonlySet<string> = new Set(['provenance', 'sbom', 'key'])
