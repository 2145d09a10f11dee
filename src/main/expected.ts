import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { environmentOf } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { FactOf } from '../domain/statement.ts'
import { parseFilesManifest, type FileRecord } from '../oci/files-manifest.ts'
import type { Expected } from '../runtime/judge.ts'
import type { ExpectedMould } from '../runtime/look.ts'
import { blobBytes, imageIdOf, readDefinition, type LedgerView } from './ledger-view.ts'

/** How many environments' moulds are kept; each is read again when its key changes. */
const kept = 200

/** What should run, from the verified ledger and the store: never from what an instance says of itself. */
export function createExpected(
  view: LedgerView,
): (environment: EnvironmentName) => Promise<Expected> {
  const moulds = new Map<string, ExpectedMould>()
  return async (environment) => {
    const ledger = await view.reader.refresh()
    const { active, running, entered, open, epoch } = environmentOf(ledger, environment)
    const closed = open === null ? epoch : null
    if (active === null) return { instances: [], closed, mould: null, entered: [] }
    const { digest } = active.body
    return {
      instances: running.map((one) => ({ ...one, digest })),
      closed,
      entered,
      async mould() {
        const known = moulds.get(active.leaf)
        if (known !== undefined) return known
        const files = ledger.sealed.get(digest)?.body.files
        const made = await readMould(view, active, files)
        if (moulds.size >= kept) moulds.clear()
        moulds.set(active.leaf, made)
        return made
      },
    }
  }
}

async function readMould(
  { store }: LedgerView,
  key: FactOf<'key'>,
  files: Digest | undefined,
): Promise<ExpectedMould> {
  const { digest, definition } = key.body
  return {
    digest,
    definitionDigest: definition,
    definition: await readDefinition(store, definition),
    key: key.leaf,
    imageId: await imageIdOf(store, digest),
    async files() {
      if (files === undefined) throw new KilnError('not_found', `${digest} is not sealed`)
      const records = parseFilesManifest(text(await blobBytes(store, files)))
      return new Map<string, FileRecord>(records.map((record) => [record.path, record]))
    },
  }
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
