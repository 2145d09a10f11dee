import { parseLoggedBundle, type LoggedBundle } from '../../../signing/bundle.ts'
import { digestOf } from '../../../signing/canonical.ts'
import type { Digest } from '../../domain/digest.ts'
import { escapeName } from '../../oci/entry-name.ts'
import { readTar, type TarLimits } from '../../oci/tar-reader.ts'
import { decodeEntries } from '../tiles.ts'
import {
  blobName,
  checkIndex,
  names,
  notEvidence,
  statementName,
  type Evidence,
  type EvidenceIndex,
} from './format.ts'

/** A million entries of the log are some 450 MB. */
const limits: TarLimits = {
  entries: 1_100_000,
  name: 200,
  extension: 1024,
  total: 1024 ** 3,
}

/**
 * Reads a file of evidence: exactly the names that its table of contents says, each once, plain files.
 * Throws `invalid_archive` and, for a bundle, `verification_failed`, with the name in `place`.
 */
export async function readEvidence(source: AsyncIterable<Uint8Array>): Promise<Evidence> {
  const files = await filesOf(source)
  const index = checkIndex(json(files, names.index))
  const evidence: Evidence = {
    index,
    statements: statementsOf(files, index),
    blobs: blobsOf(files, index),
    checkpoint: text(files, names.checkpoint),
    entries: decodeEntries(take(files, names.entries), names.entries),
    trust: json(files, names.trust),
    derived: {
      envelope: take(files, names.envelope),
      signer: take(files, names.signer),
      trustedRoot: take(files, names.trustedRoot),
    },
  }
  // For people; nothing is judged by them.
  for (const name of [names.readme, names.script]) take(files, name)
  const [extra] = files.keys()
  if (extra !== undefined) throw notEvidence(extra, 'nothing says what this is')
  return evidence
}

type Files = Map<string, Uint8Array>

async function filesOf(source: AsyncIterable<Uint8Array>): Promise<Files> {
  const files: Files = new Map()
  for await (const { entry, body } of readTar(source, limits)) {
    const name = escapeName(entry.name)
    if (entry.type !== 'file') throw notEvidence(name, `a ${entry.type}`)
    if (files.has(name)) throw notEvidence(name, 'it is there twice')
    const parts: Uint8Array[] = []
    for await (const part of body) parts.push(part)
    files.set(name, Buffer.concat(parts))
  }
  return files
}

/** Each is taken once: what is left over is more than the table of contents says. */
function take(files: Files, name: string): Uint8Array {
  const bytes = files.get(name)
  if (bytes === undefined) throw notEvidence(name, 'it is missing')
  files.delete(name)
  return bytes
}

function text(files: Files, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(take(files, name))
  } catch (error) {
    if (error instanceof TypeError) throw notEvidence(name, 'it is not text')
    throw error
  }
}

function json(files: Files, name: string): unknown {
  const content = text(files, name)
  try {
    return JSON.parse(content)
  } catch {
    throw notEvidence(name, 'it is not JSON')
  }
}

function statementsOf(files: Files, index: EvidenceIndex): Map<number, LoggedBundle> {
  return new Map(
    index.statements.map((one) => [
      one.index,
      parseLoggedBundle(take(files, statementName(one.index, one.kind))),
    ]),
  )
}

function blobsOf(files: Files, index: EvidenceIndex): Map<Digest, Uint8Array> {
  const blobs = new Map<Digest, Uint8Array>()
  for (const { digest } of index.blobs) {
    const bytes = take(files, blobName(digest))
    if (digestOf(bytes) !== digest) throw notEvidence(blobName(digest), 'its content is another')
    blobs.set(digest, bytes)
  }
  return blobs
}
