import { KilnError } from '../domain/error.ts'
import { decodeName } from '../oci/entry-name.ts'
import { readTar } from '../oci/tar-reader.ts'

/** What decides which packages npm fetches. */
export type NpmFiles = { manifest: Buffer; lock: Buffer }

const biggest = 64 * 1024 * 1024

/** Takes the two files of npm out of a source's context. Throws `lock_missing`, `invalid_input`. */
export async function readNpmFiles(context: AsyncIterable<Uint8Array>): Promise<NpmFiles> {
  const found = new Map<string, Buffer>()
  for await (const { entry, body } of readTar(context)) {
    const name = decodeName(entry.name) ?? ''
    if (name === '.npmrc') {
      throw new KilnError('invalid_input', 'an .npmrc would change what npm fetches', {
        place: 'entry .npmrc',
        fix: "remove it; the registry is the machine's own setting",
      })
    }
    if (name !== 'package.json' && name !== 'package-lock.json') continue
    if (entry.type !== 'file' || entry.size > biggest) {
      throw new KilnError('invalid_input', `${name} is no plain file`, { place: `entry ${name}` })
    }
    found.set(name, await bytesOf(body))
  }
  return { manifest: required(found, 'package.json'), lock: required(found, 'package-lock.json') }
}

function required(found: ReadonlyMap<string, Buffer>, name: string): Buffer {
  const bytes = found.get(name)
  if (bytes !== undefined) return bytes
  throw new KilnError('lock_missing', `the source has no ${name}`, {
    place: name,
    fix: 'npm install --package-lock-only, then commit both files',
  })
}

async function bytesOf(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const bytes of body) parts.push(Uint8Array.from(bytes))
  return Buffer.concat(parts)
}
