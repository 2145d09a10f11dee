import { digestOfHex, isDigest, type Digest } from '../domain/digest.ts'
import { isRepositoryName } from './name.ts'
import { RegistryError } from './registry-error.ts'

/** What a path below `/v2/` names. */
export type Route =
  | { kind: 'base' }
  | { kind: 'manifest'; name: string; reference: Reference }
  | { kind: 'blob'; name: string; digest: Digest }
  | { kind: 'referrers'; name: string; digest: Digest }
  | { kind: 'tags'; name: string }
  | { kind: 'uploads'; name: string }
  | { kind: 'upload'; name: string; id: string }

/** A manifest is named by digest, or by tag; `fallback` is the tag under which clients look for referrers. */
type Reference =
  | { kind: 'digest'; digest: Digest }
  | { kind: 'fallback'; subject: Digest }
  | { kind: 'tag'; tag: string }

const tagForm = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const fallbackForm = /^sha256-([0-9a-f]{64})$/
const uploadForm = /^[0-9a-f-]{36}$/
const shape = /^(.+)\/(manifests|blobs|referrers)\/([^/]+)$/
const tagsShape = /^(.+)\/tags\/list$/
const uploadShape = /^(.+)\/blobs\/uploads\/([^/]*)$/

/** Reads the path after `/v2/`, percent-decoded once; throws the specification's error for what it is not. */
export function parseRoute(path: string): Route {
  if (path === '') return { kind: 'base' }
  const upload = uploadShape.exec(path)
  if (upload !== null) return uploadRoute(nameOf(upload[1]), upload[2] ?? '')
  const tags = tagsShape.exec(path)
  if (tags !== null) return { kind: 'tags', name: nameOf(tags[1]) }
  const found = shape.exec(path)
  if (found === null) throw new RegistryError('UNSUPPORTED', 404, 'no such endpoint')
  const [, rawName, kind, last = ''] = found
  const name = nameOf(rawName)
  if (kind === 'manifests') return { kind: 'manifest', name, reference: referenceOf(last) }
  return { kind: kind === 'blobs' ? 'blob' : 'referrers', name, digest: digestOf(last) }
}

function uploadRoute(name: string, id: string): Route {
  if (id === '') return { kind: 'uploads', name }
  if (!uploadForm.test(id)) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', 404, 'no such upload')
  return { kind: 'upload', name, id }
}

function nameOf(text: string | undefined): string {
  if (text === undefined || !isRepositoryName(text)) {
    throw new RegistryError('NAME_INVALID', 400, 'invalid repository name')
  }
  return text
}

/** Throws `DIGEST_INVALID` for all but `sha256:<64 lower-case hexadecimal characters>`. */
export function digestOf(text: string): Digest {
  if (!isDigest(text))
    throw new RegistryError('DIGEST_INVALID', 400, 'only sha256 digests are known')
  return text
}

function referenceOf(text: string): Reference {
  if (text.includes(':')) return { kind: 'digest', digest: digestOf(text) }
  const fallback = fallbackForm.exec(text)?.[1]
  if (fallback !== undefined) return { kind: 'fallback', subject: digestOfHex(fallback) }
  if (!tagForm.test(text))
    throw new RegistryError('MANIFEST_INVALID', 400, 'neither a digest nor a tag')
  return { kind: 'tag', tag: text }
}
