import { z } from 'zod'
import type { LoggedBundle } from '../../../signing/bundle.ts'
import { isDigest, type Digest } from '../../domain/digest.ts'
import { KilnError } from '../../domain/error.ts'

/**
 * The file that `kiln evidence` writes (docs/evidence.md): a tar of these names. Everything but
 * `index.json` is as other tools read it.
 */
export const names = {
  readme: 'README.txt',
  script: 'verify.sh',
  index: 'index.json',
  /** The provisioning key's bare DSSE envelope, as slsa-verifier reads it. */
  envelope: 'key.dsse.json',
  /** PEM of the signing key that signed it. */
  signer: 'promote.pub',
  trust: 'trust/roles.json',
  trustedRoot: 'trust/trusted_root.json',
  checkpoint: 'log/checkpoint',
  /** Each entry behind its length in two bytes, as in an entry tile. */
  entries: 'log/entries',
} as const

export function statementName(index: number, kind: string): string {
  return `statements/${String(index).padStart(7, '0')}-${kind}.sigstore.json`
}

export function blobName(digest: Digest): string {
  return `blobs/${digest.replace(':', '-')}`
}

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value))

const indexSchema = z.strictObject({
  version: z.literal(1),
  /** Whose key it is, and which. */
  environment: z.string().max(200),
  sequence: z.int().positive(),
  key: z.int().nonnegative(),
  digest,
  madeAt: z.iso.datetime(),
  statements: z
    .array(z.strictObject({ index: z.int().nonnegative(), kind: z.string().max(40) }))
    .min(1)
    .max(1_000_000),
  blobs: z.array(z.strictObject({ what: z.string().max(200), digest })).max(10_000),
})

/** What is in the file, in log order. It is a table of contents: nothing is believed because it stands here. */
export type EvidenceIndex = z.infer<typeof indexSchema>

export type Evidence = {
  index: EvidenceIndex
  /** By log index. */
  statements: ReadonlyMap<number, LoggedBundle>
  blobs: ReadonlyMap<Digest, Uint8Array>
  checkpoint: string
  entries: readonly Uint8Array[]
  trust: unknown
  /** Made of the rest, for other tools: as it stands in the file. */
  derived: { envelope: Uint8Array; signer: Uint8Array; trustedRoot: Uint8Array }
}

/** Throws `invalid_archive` with the field in `place`. */
export function checkIndex(json: unknown): EvidenceIndex {
  const parsed = indexSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw notEvidence(
    [names.index, ...(issue?.path ?? [])].join('.'),
    issue?.message ?? 'not as it should be',
  )
}

export function notEvidence(place: string, message: string): KilnError {
  return new KilnError('invalid_archive', `not a file of evidence: ${message}`, {
    place,
    fix: 'kiln evidence <app>/<environment> makes one',
  })
}
