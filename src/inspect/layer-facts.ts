import { KilnError } from '../domain/error.ts'
import { placeOf, type ByteName } from '../oci/entry-name.ts'
import type { TarItem } from '../oci/tar-entry.ts'
import { readTar } from '../oci/tar-reader.ts'
import { baseNameOf, join, layerPath, parentOf } from '../oci/tree.ts'
import {
  factKindOf,
  maxFactBytes,
  packageFolder,
  type FactKind,
  type Facts,
  type FileFact,
} from './fact.ts'

/**
 * The facts of an image after one more layer. Its deletions speak of lower layers only; whatever is
 * put where a lower layer had something else, hides it and all below it. Throws `invalid_image`,
 * `invalid_archive`.
 */
export async function addLayer(below: Facts, layer: AsyncIterable<Uint8Array>): Promise<Facts> {
  const kept = new Map(below)
  const parents = new Set([...below.keys()].flatMap(ancestors))
  const put = new Map<ByteName, FileFact>()
  const hide = (path: ByteName, self: boolean) => {
    if (self) kept.delete(path)
    if (path !== '' && !parents.has(path)) return
    const prefix = path === '' ? '' : `${path}/`
    for (const one of kept.keys()) if (one.startsWith(prefix)) kept.delete(one)
  }
  for await (const item of readTar(layer)) {
    const path = layerPath(item.entry.name)
    const name = baseNameOf(path)
    if (name === '.wh..wh..opq') hide(parentOf(path), false)
    else if (name.startsWith('.wh.')) hide(join(parentOf(path), name.slice('.wh.'.length)), true)
    else if (item.entry.type !== 'directory') {
      hide(path, true)
      const fact = await factOf(path, item, (at) => put.get(at) ?? below.get(at))
      if (fact !== undefined) put.set(path, fact)
    }
  }
  return new Map([...kept, ...put])
}

function ancestors(path: ByteName): ByteName[] {
  const found: ByteName[] = []
  for (let at = parentOf(path); at !== ''; at = parentOf(at)) found.push(at)
  return found
}

/** A hard link says what its target says; one to a file that is no fact cannot be read any more. */
async function factOf(
  path: ByteName,
  { entry, body }: TarItem,
  factAt: (path: ByteName) => FileFact | undefined,
): Promise<FileFact | undefined> {
  const kind = factKindOf(path)
  if (kind === undefined) return undefined
  if (entry.type === 'link') return factAt(layerPath(entry.linkname)) ?? unread(kind, path)
  if (entry.type !== 'file') return undefined
  if (kind === 'node') return { kind, version: await findNodeVersion(body) }
  return textFact(kind, path, await readText(path, entry.size <= maxFactBytes[kind], body))
}

function textFact(kind: Exclude<FactKind, 'node'>, path: ByteName, text: string): FileFact {
  return kind === 'npm' ? { kind, folder: packageFolder(path), text } : { kind, text }
}

function unread(kind: FactKind, path: ByteName): FileFact {
  return kind === 'node' ? { kind, version: null } : textFact(kind, path, '')
}

async function readText(
  path: ByteName,
  fits: boolean,
  body: AsyncIterable<Uint8Array>,
): Promise<string> {
  if (!fits)
    throw new KilnError('invalid_image', 'a file too big to be read', { place: placeOf(path) })
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

const mark = Buffer.from('node-v')
const versionForm = /^node-v(\d{1,3}\.\d{1,4}\.\d{1,4}(?:-[0-9A-Za-z.]{1,40})?)\.tar\.gz/
const longest = 80

/** Node carries the name of its own release's archive; null when a file called node is not Node. */
async function findNodeVersion(body: AsyncIterable<Uint8Array>): Promise<string | null> {
  let version: string | null = null
  let tail: Buffer = Buffer.alloc(0)
  for await (const chunk of body) {
    if (version !== null) continue
    const bytes = Buffer.concat([tail, chunk])
    for (
      let at = bytes.indexOf(mark);
      at >= 0 && version === null;
      at = bytes.indexOf(mark, at + 1)
    ) {
      version = versionForm.exec(bytes.toString('latin1', at, at + longest))?.[1] ?? null
    }
    tail = bytes.subarray(Math.max(0, bytes.length - longest))
  }
  return version
}
