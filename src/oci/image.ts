import type { Digest } from '../domain/digest.ts'

export const mediaTypes = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  empty: 'application/vnd.oci.empty.v1+json',
} as const

export type Descriptor = {
  mediaType: string
  digest: Digest
  size: number
  annotations?: Readonly<Record<string, string>>
  artifactType?: string
}

/** An OCI image manifest (image-spec 1.1). The artifact's digest is the SHA-256 of its stored bytes. */
export type Manifest = {
  schemaVersion: 2
  mediaType: typeof mediaTypes.manifest
  artifactType?: string
  config: Descriptor
  layers: readonly Descriptor[]
  subject?: Descriptor
  annotations?: Readonly<Record<string, string>>
}

/** The part of an OCI image config that Kiln writes. Layers are uncompressed: diff_ids equal layer digests. */
export type ImageConfig = {
  architecture: string
  os: 'linux'
  created: string
  config: {
    User?: string
    Env?: readonly string[]
    Entrypoint?: readonly string[]
    Cmd?: readonly string[]
    WorkingDir?: string
    ExposedPorts?: Readonly<Record<string, Record<string, never>>>
    Labels?: Readonly<Record<string, string>>
    StopSignal?: string
  }
  rootfs: { type: 'layers'; diff_ids: readonly Digest[] }
  history: readonly { created: string; created_by: string }[]
}
