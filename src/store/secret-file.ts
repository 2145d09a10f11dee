import { open } from 'node:fs/promises'
import { KilnError } from '../domain/error.ts'

const maxBytes = 4096

/**
 * A secret by reference: the one line in a file that not everybody may read. Throws
 * `prerequisite_missing`, which names the file and never what stands in it.
 */
export async function readSecretFile(path: string): Promise<string> {
  const { mode, text } = await readStart(path)
  if ((mode & 0o007) !== 0) {
    throw unusable(path, 'may be read by everybody', `chmod 600 ${path}`)
  }
  const secret = text.replace(/\r?\n$/, '')
  if (secret === '') throw unusable(path, 'is empty', 'write the secret into it, as one line')
  if (!/^[\x21-\x7e]+$/.test(secret)) {
    throw unusable(path, 'holds more than one line of plain characters', 'write only the secret')
  }
  return secret
}

async function readStart(path: string): Promise<{ mode: number; text: string }> {
  try {
    const file = await open(path, 'r')
    try {
      const facts = await file.stat()
      if (!facts.isFile()) throw unusable(path, 'is not a file', 'name a file')
      if (facts.size > maxBytes) throw unusable(path, 'is too large for a secret', 'name another')
      return { mode: facts.mode, text: await file.readFile('utf8') }
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof KilnError) throw error
    throw unusable(path, 'cannot be read', 'make the file, or correct its path', error)
  }
}

function unusable(path: string, fault: string, ...[fix, cause]: [string, unknown?]): KilnError {
  return new KilnError('prerequisite_missing', `the secret's file ${fault}`, {
    place: path,
    fix,
    ...(cause === undefined ? {} : { cause }),
  })
}
