import type { Digest } from './digest.ts'

/**
 * A template whose lock was checked: every input is in the store under the digest that the lock names.
 * This is what the build rooms are given; they never read the template's folder.
 */
export type CheckedTemplate = {
  name: string
  /** SHA-256 of the bytes of template.lock: the template's version. */
  lock: Digest
  /** The template that it stands on, and its lock. */
  base?: { name: string; lock: Digest }
  /** Blob: the template's Dockerfile. `FROM base` names the lock's base image. */
  dockerfile: Digest
  /** Blob: the template's files/ folder as a canonical tar; null when it has none. */
  files: Digest | null
  /** OCI manifests in the store. `base` is what the build starts FROM; `fetch` runs the dependency step. */
  images: { base: Digest; fetch: Digest | null }
  /** How the source's dependencies are fetched. */
  dependencies: 'npm' | 'none'
}
