import type { TarEntry, TarItem } from '../../src/oci/tar-entry.ts'
import { noXattrs } from '../../src/oci/tar-entry.ts'
import { readTar, type TarLimits } from '../../src/oci/tar-reader.ts'
import { headerBytes, writeTar } from '../../src/oci/tar-writer.ts'

/** An entry with its content, as tests write and compare it. */
export type Sample = TarEntry & { content: string }

export function sample(name: string, more: Partial<Omit<Sample, 'size'>> = {}): Sample {
  const content = more.content ?? ''
  return {
    type: 'file',
    name,
    linkname: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: 1_700_000_000,
    device: { major: 0, minor: 0 },
    xattrs: noXattrs,
    ...more,
    content,
    size: content.length,
  }
}

export async function tarOf(samples: Iterable<Sample>): Promise<Buffer> {
  const outputs = [...samples].map(({ content, ...entry }) => ({
    entry,
    body: [Buffer.from(content, 'latin1')],
  }))
  return collect(writeTar(outputs))
}

export async function samplesOf(bytes: Uint8Array, limits?: TarLimits): Promise<Sample[]> {
  const found: Sample[] = []
  for await (const item of readTar(chunked(bytes), limits)) found.push(await sampleOf(item))
  return found
}

async function sampleOf({ entry, body }: TarItem): Promise<Sample> {
  return { ...entry, content: (await collect(body)).toString('latin1') }
}

export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const bytes of source) parts.push(Uint8Array.from(bytes))
  return Buffer.concat(parts)
}

/** In pieces of an odd length, so that every boundary is crossed. */
export async function* chunked(bytes: Uint8Array, length = 1009): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

export const endOfTar = Buffer.alloc(1024)

/** A header block, changed by hand, with a checksum that is right again. */
export function craftedHeader(entry: Sample, change: (block: Buffer) => void): Buffer {
  const block = Buffer.from(headerBytes({ ...entry, size: entry.content.length }))
  change(block)
  return withChecksum(block)
}

function withChecksum(block: Buffer): Buffer {
  block.write('        ', 148, 'latin1')
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** An extension entry (`x`, `g`, `L` or `K`) with this body. */
export function extension(flag: 'x' | 'g' | 'L' | 'K', body: string): Buffer {
  const header = craftedHeader(sample('extension', { content: body }), (block) =>
    block.write(flag, 156),
  )
  return Buffer.concat([header, padded(body)])
}

export function padded(body: string): Buffer {
  const bytes = Buffer.alloc(Math.ceil(body.length / 512) * 512)
  bytes.write(body, 'latin1')
  return bytes
}

export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  const guess = rest.length + String(rest.length).length
  return `${rest.length + String(guess).length}${rest}`
}
