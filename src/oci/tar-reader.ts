import { KilnError } from '../domain/error.ts'
import type { ByteInput } from './byte-input.ts'
import { byteInput } from './byte-input.ts'
import type { ByteName } from './entry-name.ts'
import { placeOf } from './entry-name.ts'
import type { TarEntry, TarItem } from './tar-entry.ts'
import { blockSize, paddingOf } from './tar-entry.ts'
import type { TarHeader } from './tar-header.ts'
import { extensionFlags, parseHeader, TarFault } from './tar-header.ts'
import type { PaxRecords } from './tar-pax.ts'
import { applyPax, checkGlobalPax, parsePax } from './tar-pax.ts'

/** The most that a tar may hold before it is refused. Sizes in bytes; `total` counts headers and what fills its end, too. */
export type TarLimits = { entries: number; name: number; extension: number; total: number }

export const defaultTarLimits: TarLimits = {
  entries: 500_000,
  name: 4096,
  extension: 1024 * 1024,
  total: 16 * 1024 ** 3,
}

/** Extensions that wait for the entry they belong to. */
type Pending = { pax?: PaxRecords; longName?: ByteName; longLink?: ByteName }

/**
 * Reads a tar strictly: ustar, pax and GNU headers, everything a layer may hold byte for byte. Refuses,
 * with `invalid_archive` and the entry as its place, what other readers might read differently: bad
 * checksums and numbers, NULs in names, repeated or conflicting extensions, unknown types and records,
 * sparse files, content where there may be none, truncation, a missing end, bytes after the end, and
 * anything above `limits`. What the names mean is the caller's to judge.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  limits: TarLimits = defaultTarLimits,
): AsyncGenerator<TarItem> {
  const input = byteInput(source)
  let last: ByteName | undefined
  try {
    const spend = spending(limits)
    for (let count = 0; ; count++) {
      const entry = await nextEntry(input, { limits, spend })
      if (entry === undefined) return
      last = entry.name
      if (count >= limits.entries) throw new TarFault(`more than ${limits.entries} entries`)
      spend(entry.size)
      const content = contentOf(input, entry)
      yield { entry, body: content.body }
      await content.finish()
    }
  } catch (error) {
    if (!(error instanceof TarFault)) throw error
    throw refusal(error.message, last)
  } finally {
    await input.close()
  }
}

function refusal(why: string, last: ByteName | undefined): KilnError {
  const place = last === undefined ? 'the first entry' : placeOf(last)
  return new KilnError('invalid_archive', `the archive is refused: ${why}`, { place })
}

type Spend = (bytes: number) => void
type Bounds = { limits: TarLimits; spend: Spend }

/** Headers that announce no file and zeros behind the end are cheap to compress and endless, so all counts. */
function spending({ total }: TarLimits): Spend {
  let spent = 0
  return (bytes) => {
    spent += bytes
    if (spent > total) throw new TarFault(`more than ${total} bytes`)
  }
}

async function nextEntry(input: ByteInput, bounds: Bounds): Promise<TarEntry | undefined> {
  const { limits, spend } = bounds
  const pending: Pending = {}
  for (;;) {
    const block = await input.take(blockSize)
    spend(block.length)
    if (block.length !== blockSize) throw new TarFault('it ends without its end mark')
    if (isZero(block)) {
      if (Object.keys(pending).length > 0) throw new TarFault('an extension without its entry')
      await checkEnd(input, spend)
      return undefined
    }
    const header = parseHeader(block)
    if (header.flag in readsExtension) await readExtension(input, header, { pending, ...bounds })
    else return checked(withoutStaleTarget(extended(header.entry, pending)), limits)
  }
}

const readsExtension: Readonly<Record<string, (body: string) => Pending>> = {
  [extensionFlags.pax]: (body) => ({ pax: parsePax(body) }),
  [extensionFlags.longName]: (body) => ({ longName: longText(body) }),
  [extensionFlags.longLink]: (body) => ({ longLink: longText(body) }),
  [extensionFlags.globalPax]: (body) => {
    checkGlobalPax(parsePax(body))
    return {}
  },
}

async function readExtension(
  input: ByteInput,
  { flag, entry: { size } }: TarHeader,
  { pending, limits, spend }: Bounds & { pending: Pending },
): Promise<void> {
  if (size > limits.extension) throw new TarFault(`an extension above ${limits.extension} bytes`)
  spend(size + paddingOf(size))
  const body = await input.take(size + paddingOf(size))
  if (body.length !== size + paddingOf(size)) throw new TarFault('it is cut off in an extension')
  const found = readsExtension[flag]?.(body.toString('latin1', 0, size)) ?? {}
  for (const key of Object.keys(found)) {
    if (key in pending) throw new TarFault('two extensions of one kind for one entry')
  }
  Object.assign(pending, found)
}

function longText(body: string): ByteName {
  const end = body.indexOf('\0')
  const text = end === -1 ? body : body.slice(0, end)
  if (text === '' || /[^\0]/.test(body.slice(text.length))) {
    throw new TarFault('a long name that is empty or has a NUL')
  }
  return text
}

function extended(entry: TarEntry, { pax, longName, longLink }: Pending): TarEntry {
  if (longName !== undefined && pax?.has('path') === true) throw new TarFault('two long names')
  if (longLink !== undefined && pax?.has('linkpath') === true) throw new TarFault('two long links')
  const named = {
    ...entry,
    name: longName ?? entry.name,
    linkname: longLink ?? entry.linkname,
  }
  return pax === undefined ? named : applyPax(named, pax)
}

/**
 * The engine writes a deletion as an empty file `.wh.<name>`. Where the kernel shares one inode between
 * several, the second and later ones still carry a link's target, which no reader of files looks at.
 */
function withoutStaleTarget(entry: TarEntry): TarEntry {
  const { type, name, size } = entry
  const isDeletion = type === 'file' && size === 0 && /(^|\/)\.wh\.[^/]+$/.test(name)
  return isDeletion ? { ...entry, linkname: '' } : entry
}

function checked(entry: TarEntry, limits: TarLimits): TarEntry {
  const { type, name, linkname, size } = entry
  if (name === '') throw new TarFault('an entry without a name')
  if (name.length > limits.name || linkname.length > limits.name) {
    throw new TarFault(`a name above ${limits.name} bytes`)
  }
  const at = `in ${placeOf(name)}`
  if (type !== 'file' && size > 0) throw new TarFault(`content ${at}, which is no file`)
  if (type === 'file' && name.endsWith('/')) throw new TarFault(`a file named like a folder ${at}`)
  if ((type === 'link' || type === 'symlink') !== (linkname !== '')) {
    throw new TarFault(`a link without a target, or a target without a link ${at}`)
  }
  return entry
}

/** After the second zero block only zeros may follow: some readers would go on reading there. */
async function checkEnd(input: ByteInput, spend: Spend): Promise<void> {
  const second = await input.take(blockSize)
  if (second.length !== blockSize || !isZero(second)) throw new TarFault('half of its end mark')
  for (;;) {
    const rest = await input.some(65_536)
    if (rest.length === 0) return
    spend(rest.length)
    if (!isZero(rest)) throw new TarFault('bytes after its end')
  }
}

const zeros = Buffer.alloc(65_536)

function isZero(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, zeros.subarray(0, bytes.length)) === 0
}

/** The content of one entry, and what brings the input behind it and its padding. */
function contentOf(
  input: ByteInput,
  { name, size }: TarEntry,
): { body: AsyncIterable<Uint8Array>; finish: () => Promise<void> } {
  let left = size
  async function next(): Promise<Uint8Array | undefined> {
    if (left === 0) return undefined
    const bytes = await input.some(left)
    // Thrown to whoever reads the content, so it is not for the reader's own loop to translate.
    if (bytes.length === 0) throw refusal('it is cut off in the content of an entry', name)
    left -= bytes.length
    return bytes
  }
  async function* body(): AsyncGenerator<Uint8Array> {
    for (let bytes = await next(); bytes !== undefined; bytes = await next()) yield bytes
  }
  return {
    body: { [Symbol.asyncIterator]: body },
    async finish() {
      while ((await next()) !== undefined);
      const padding = paddingOf(size)
      if ((await input.take(padding)).length !== padding) throw new TarFault('it is cut off')
    },
  }
}
