import { text } from 'node:stream/consumers'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { FileRecord } from '../oci/files-manifest.ts'
import { parseFilesManifest } from '../oci/files-manifest.ts'
import { openBlob } from '../oci/read-image.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { compareFiles, describeDifference } from './compare-files.ts'

export type ComparedArtifact = { artifact: Digest; files: Digest }
export type CompareArtifactsInput = { recorded: ComparedArtifact; rebuilt: ComparedArtifact }

const mostLines = 50

/** Throws `not_reproducible`, with the files that differ as its lines, unless both are the same artifact. */
export async function compareArtifacts(
  { store }: { store: BlobStore },
  { recorded, rebuilt }: CompareArtifactsInput,
): Promise<void> {
  if (recorded.artifact === rebuilt.artifact) return
  const differences = compareFiles(
    await readFiles(store, recorded.files),
    await readFiles(store, rebuilt.files),
  ).map(describeDifference)
  const more = differences.length - mostLines
  throw new KilnError(
    'not_reproducible',
    `rebuilt as ${rebuilt.artifact}, ${reasonOf(differences)}`,
    {
      place: recorded.artifact,
      lines: more > 0 ? [...differences.slice(0, mostLines), `and ${more} more`] : differences,
    },
  )
}

function reasonOf(differences: readonly string[]): string {
  if (differences.length === 0) return 'whose files are the same: only times or the config differ'
  return `in which ${differences.length} ${differences.length === 1 ? 'file differs' : 'files differ'}`
}

async function readFiles(store: BlobStore, files: Digest): Promise<readonly FileRecord[]> {
  return parseFilesManifest(await text(await openBlob(store, files)))
}
