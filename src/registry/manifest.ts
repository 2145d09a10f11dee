import { createHash } from 'node:crypto'
import { z } from 'zod'
import { digestOfHex, isDigest, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'

/** Larger manifests are refused, on the way in and on the way out. */
export const maxManifestBytes = 4 * 1024 * 1024

const descriptor = z.object({
  mediaType: z.string().min(1).max(255),
  digest: z.string().refine(isDigest, 'not a sha256 digest'),
  size: z.int().min(0),
  annotations: z.record(z.string(), z.string()).optional(),
  // An engine would fetch a foreign layer from wherever these lead.
  urls: z.never('foreign layers are not taken').optional(),
})

const shape = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.enum([
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
  ]),
  artifactType: z.string().optional(),
  config: descriptor,
  layers: z.array(descriptor).max(200),
  subject: descriptor.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  // Of a document that is two things at once each reader takes another: refused, as the specification says.
  manifests: z.never('an image that is an index as well').optional(),
  fsLayers: z.never('an image that is one of schema 1 as well').optional(),
})

/** The part of a stored or pushed image manifest that the registry reads; other fields stay in its bytes. */
export type ImageManifest = z.infer<typeof shape>

/** Throws `invalid_image` for bytes that are no image manifest of OCI 1.1 or Docker's schema 2. */
export function parseManifest(bytes: Uint8Array): ImageManifest {
  if (bytes.byteLength > maxManifestBytes) {
    throw new KilnError('invalid_image', `the manifest has more than ${maxManifestBytes} bytes`)
  }
  const found = shape.safeParse(jsonOf(bytes))
  if (found.success) return found.data
  const [issue] = found.error.issues
  throw new KilnError('invalid_image', `not an image manifest: ${issue?.message ?? 'no reason'}`, {
    place: issue?.path.join('.') || 'manifest',
  })
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new KilnError('invalid_image', 'the manifest is not JSON', {
      cause,
      place: 'manifest',
    })
  }
}

export function digestOfBytes(bytes: Uint8Array): Digest {
  return digestOfHex(createHash('sha256').update(bytes).digest('hex'))
}

/** What a manifest needs to be pulled whole: its config and its layers. */
export function contentOf(manifest: ImageManifest): readonly { digest: Digest; size: number }[] {
  return [manifest.config, ...manifest.layers].map(({ digest, size }) => ({ digest, size }))
}
