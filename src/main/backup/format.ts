import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { KilnError } from '../../domain/error.ts'
import { errnoOf } from '../../store/disk-error.ts'

/**
 * A backup is a folder:
 *
 *   backup.json             what is in it; written last, so a folder without it is no backup
 *   store/                  objects, under their keys
 *   objects-<sha256>.txt    one line for each object: SHA-256, size, key
 *   trust-<sha256>.json     the public half of the keys
 *   keys-<sha256>.json      the signing keys, encrypted; absent when left out
 *   addresses-<sha256>.json which port of the edge belongs to which environment
 *   settings-<sha256>.json  which repositories are watched, and what is said of repositories
 *
 * A further backup into the folder adds objects and files and then replaces backup.json: until then the
 * earlier one stands, whole.
 */
export const recordFile = 'backup.json'

const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
/** A file beside backup.json, named by what it is and what it holds. */
const named = z.strictObject({
  path: z.string().regex(/^[a-z]+-[0-9a-f]{64}\.(json|txt)$/),
  sha256,
})

const recordForm = z.strictObject({
  version: z.union([z.literal(1), z.literal(2)]),
  kind: z.literal('kiln-backup'),
  /** Version of the Kiln that wrote it. */
  kiln: z.string(),
  madeAt: z.iso.datetime(),
  origin: z.string(),
  /** The log's head as the backup read it, before it copied anything. */
  checkpoint: z.strictObject({
    size: z.int().nonnegative(),
    root: z.string(),
    note: z.string(),
  }),
  objects: z.strictObject({
    ...named.shape,
    count: z.int().nonnegative(),
    bytes: z.int().nonnegative(),
  }),
  trust: named,
  /** Null: the backup was made without them. */
  keys: named.nullable(),
  addresses: named,
  /** Null: of version 1, which had none. */
  settings: named.nullable().default(null),
})

export type BackupRecord = z.infer<typeof recordForm>
export type NamedFile = z.infer<typeof named>

/** One object: where, how large, what. */
export type BackedUp = { sha256: string; size: number; key: string }

const damagedFix =
  'restore from another backup; kiln backup into this folder mends what the store still has'

export function damaged(place: string, what: string, lines: readonly string[] = []): KilnError {
  return new KilnError('digest_mismatch', `the backup is damaged: ${what}`, {
    place,
    fix: damagedFix,
    lines,
  })
}

/** Throws `not_found` where no backup was ended, `digest_mismatch` when its record cannot be read. */
export async function readRecord(folder: string): Promise<BackupRecord> {
  const path = join(folder, recordFile)
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    const code = errnoOf(error)
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
    throw new KilnError('not_found', `${folder} holds no backup that was ended`, {
      place: path,
      fix: `kiln backup ${folder} goes on where one was interrupted`,
    })
  })
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw damaged(path, 'backup.json is not JSON')
  }
  demandKnownVersion(json, path)
  const parsed = recordForm.safeParse(json)
  if (parsed.success) return parsed.data
  throw damaged(path, `backup.json: ${parsed.error.issues[0]?.path.join('.') ?? ''}`)
}

function demandKnownVersion(json: unknown, place: string): void {
  if (typeof json !== 'object' || json === null || !('version' in json)) return
  const { version } = json
  if (version === 1 || version === 2) return
  throw new KilnError('invalid_input', `the backup has version ${String(version)}, not 1 or 2`, {
    place,
    fix: 'restore it with the version of Kiln that wrote it',
  })
}

/** The bytes of a file that backup.json names. Throws `digest_mismatch`. */
export async function readNamed(folder: string, file: NamedFile): Promise<Buffer> {
  const path = join(folder, file.path)
  const bytes = await readFile(path).catch(() => undefined)
  if (bytes === undefined) throw damaged(path, `${file.path} is missing`)
  if (hashOf(bytes) !== file.sha256) throw damaged(path, `${file.path} holds other bytes`)
  return bytes
}

export function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** SHA-256 and length of a file; undefined when there is none. */
export async function hashFile(
  path: string,
): Promise<{ sha256: string; size: number } | undefined> {
  const hash = createHash('sha256')
  let size = 0
  try {
    for await (const chunk of createReadStream(path)) {
      hash.update(chunk as Uint8Array)
      size += (chunk as Uint8Array).length
    }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
  return { sha256: hash.digest('hex'), size }
}

export function encodeObjects(objects: readonly BackedUp[]): string {
  return objects
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ sha256: hash, size, key }) => `${hash} ${size} ${key}\n`)
    .join('')
}

/** Throws `digest_mismatch` on a line of another form. */
export function decodeObjects(text: string, place: string): BackedUp[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, hash, size, key] = /^([0-9a-f]{64}) (\d{1,15}) (\S+)$/.exec(line) ?? []
      if (hash === undefined || key === undefined) throw damaged(place, 'a line of another form')
      return { sha256: hash, size: Number(size), key }
    })
}
