import { lstat, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf } from '../../signing/canonical.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { isLabel } from '../domain/name.ts'
import { encodeName } from '../oci/entry-name.ts'
import { noXattrs } from '../oci/tar-entry.ts'
import { writeTar, type TarOutput } from '../oci/tar-writer.ts'
import { oneChunk } from '../oci/write-image.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import { parseDockerfile } from './dockerfile.ts'
import { parseTemplate, type ContainerTemplate, type DebianTemplate } from './template-file.ts'

/** Bytes of the template's folder that a lock names, by digest. */
export type Content = { digest: Digest; bytes: Uint8Array }

/** A template's folder as it stands, its lock aside. */
export type TemplateFolder = { name: string; digest: Digest } & (
  | { kind: 'debian'; template: DebianTemplate }
  | { kind: 'container'; template: ContainerTemplate; dockerfile: Content; files: Content | null }
)

/** The newest a file in files/ is: its time is no part of it. */
const noTime = 0
const limits = { files: 1000, bytes: 32 * 1024 * 1024 }

/**
 * Reads and parses `<folder>/<name>/`. Throws `not_found`, `invalid_yaml`, `invalid_dockerfile`, or
 * `invalid_input` for what a template may not hold.
 */
export async function readTemplate(folder: string, name: string): Promise<TemplateFolder> {
  const root = templateRoot(folder, name)
  if ((await lstat(root).catch(() => undefined))?.isSymbolicLink() === true) {
    throw refused(root, 'is a link: a template is a folder of its own')
  }
  const text = await readText(join(root, 'template.yaml'))
  if (text === undefined) {
    throw new KilnError('not_found', `there is no template ${name}`, { fix: 'kiln template list' })
  }
  const template = parseTemplate(text)
  const digest = digestOf(Buffer.from(text))
  if (template.kind === 'debian') return { kind: 'debian', name, digest, template }
  const dockerfile = await readText(join(root, 'Dockerfile'))
  if (dockerfile === undefined) {
    throw new KilnError('invalid_input', `${name} has no Dockerfile`, { place: 'Dockerfile' })
  }
  parseDockerfile(dockerfile, { place: 'Dockerfile' })
  return {
    kind: 'container',
    name,
    digest,
    template,
    dockerfile: content(Buffer.from(dockerfile)),
    files: await readFiles(join(root, 'files')),
  }
}

/** The text of template.lock; undefined when there is none. */
export async function readLockText(folder: string, name: string): Promise<string | undefined> {
  return await readText(join(templateRoot(folder, name), 'template.lock'))
}

/** Puts content into the store unless it is there. */
export async function keep(store: BlobStore, { bytes, digest }: Content): Promise<void> {
  if ((await store.size(blobKey(digest))) === bytes.length) return
  await store.putBlob(oneChunk(bytes), digest)
}

export function templateRoot(folder: string, name: string): string {
  if (!isLabel(name)) {
    throw new KilnError(
      'invalid_input',
      `not a template's name: ${JSON.stringify(name).slice(0, 100)}`,
    )
  }
  return join(folder, name)
}

function content(bytes: Uint8Array): Content {
  return { digest: digestOf(bytes), bytes }
}

async function readText(path: string): Promise<string | undefined> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return undefined
  if (!found.isFile()) throw refused(path, 'is not a plain file')
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(path))
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw refused(path, 'is not UTF-8')
  }
}

function refused(path: string, why: string): KilnError {
  const file = path.split('/').at(-1) ?? path
  return new KilnError('invalid_input', `${file} ${why}`, { place: file })
}

/** files/ as a canonical tar; null when there is none. */
async function readFiles(root: string): Promise<Content | null> {
  const found = await lstat(root).catch(() => undefined)
  if (found === undefined) return null
  if (!found.isDirectory()) throw refused(root, 'is not a folder')
  const outputs: TarOutput[] = []
  let bytes = 0
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  if (entries.length > limits.files) throw refused(root, `holds more than ${limits.files} files`)
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name)
    const name = path.slice(root.length + 1)
    if (entry.isDirectory()) outputs.push({ entry: tarEntry(`${name}/`, 0o755, 0) })
    else if (entry.isFile()) {
      const body = await readFile(path)
      bytes += body.length
      if (bytes > limits.bytes) throw refused(root, `holds more than ${limits.bytes} bytes`)
      const executable = ((await lstat(path)).mode & 0o100) !== 0
      outputs.push({ entry: tarEntry(name, executable ? 0o755 : 0o644, body.length), body: [body] })
    } else {
      throw new KilnError('invalid_input', `files/${name} is neither a file nor a folder`, {
        place: `files/${name}`,
      })
    }
  }
  const sorted = outputs.toSorted((a, b) => (a.entry.name < b.entry.name ? -1 : 1))
  const chunks: Uint8Array[] = []
  for await (const chunk of writeTar(sorted)) chunks.push(chunk)
  return content(Buffer.concat(chunks))
}

function tarEntry(name: string, mode: number, size: number): TarOutput['entry'] {
  return {
    type: name.endsWith('/') ? 'directory' : 'file',
    name: encodeName(name),
    linkname: '',
    mode,
    uid: 0,
    gid: 0,
    size,
    mtime: noTime,
    device: { major: 0, minor: 0 },
    xattrs: noXattrs,
  }
}
