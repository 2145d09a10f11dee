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
      const text = entry.size > biggest ? Buffer.from('too=large') : await bytesOf(body)
      checkNpmSettings(text.toString('utf8'))
      continue
    }
    if (name !== 'package.json' && name !== 'package-lock.json') continue
    if (entry.type !== 'file' || entry.size > biggest) {
      throw new KilnError('invalid_input', `${name} is no plain file`, { place: `entry ${name}` })
    }
    found.set(name, await bytesOf(body))
  }
  return { manifest: required(found, 'package.json'), lock: required(found, 'package-lock.json') }
}

/** Settings of npm for people who work on the source: none changes what a lock file makes npm fetch. */
const harmless = [
  'audit',
  'fund',
  'loglevel',
  'omit-lockfile-registry-resolved',
  'progress',
  'save-exact',
  'save-prefix',
  'update-notifier',
]

/** The step that fetches never sees an .npmrc, so one that would mean something there is refused. */
function checkNpmSettings(text: string): void {
  for (const line of text.split(/\r?\n/)) {
    const [name = ''] = line.split('=', 1)
    if (/^\s*([#;]|$)/.test(line) || harmless.includes(name.trim())) continue
    const shown = JSON.stringify(name.trim().slice(0, 60))
    throw new KilnError('invalid_input', `${shown} in .npmrc may change what npm fetches`, {
      place: 'entry .npmrc',
      fix: `remove the setting; the registry is the machine's own. Allowed are ${harmless.join(', ')}`,
    })
  }
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
