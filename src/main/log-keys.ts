import { createPublicKey } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isP256, keyHintOf, spkiOf } from '../../signing/public-key.ts'
import { KilnError } from '../domain/error.ts'

/**
 * Hints of the keys that may write into the log beside Kiln's own: the PEM files of a folder, which may
 * change at any time. One that is no P-256 public key makes all of it unreadable: `prerequisite_missing`.
 */
export async function readLogKeys(folder: string | undefined): Promise<ReadonlySet<string>> {
  if (folder === undefined) return new Set()
  try {
    const names = (await readdir(folder)).filter((name) => /\.(pub|pem)$/.test(name))
    return new Set(await Promise.all(names.map((name) => hintOf(join(folder, name)))))
  } catch (error) {
    if (error instanceof KilnError) throw error
    throw new KilnError('prerequisite_missing', `${folder} cannot be read`, {
      place: 'KILN_LOG_KEYS',
      cause: error,
    })
  }
}

async function hintOf(path: string): Promise<string> {
  try {
    const key = createPublicKey(await readFile(path, 'utf8'))
    if (isP256(key)) return keyHintOf(spkiOf(key))
  } catch {
    // The cause is left out: somebody may have put a private key there.
  }
  throw new KilnError('prerequisite_missing', `${path} is not a P-256 public key in PEM`, {
    place: 'KILN_LOG_KEYS',
    fix: 'put the public half there, or take the file away',
  })
}
