import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { KilnError } from '../domain/error.ts'
import { repositoriesForm, type KnownRepository } from '../source/known-repository.ts'
import { replaceFile } from '../store/replace-file.ts'
import { parseYaml } from '../template/yaml.ts'

export const repositoriesFile = 'repositories.yaml'
const maxBytes = 1024 * 1024

/**
 * What people said of their repositories, read anew each time, so that nothing has to be restarted.
 * Throws `invalid_yaml`; a file that is not there says nothing of any.
 */
export async function readRepositories(home: string): Promise<readonly KnownRepository[]> {
  const path = join(home, repositoriesFile)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new KilnError('prerequisite_missing', `${repositoriesFile} cannot be read`, {
      cause: error,
      place: path,
      fix: 'may Kiln read it?',
    })
  }
  return parseYaml({ file: repositoriesFile, text, maxBytes }, repositoriesForm).repositories
}

/** Writes the whole file; a reader sees the old one or the new one. Comments of people are lost. */
export async function writeRepositories(
  home: string,
  repositories: readonly KnownRepository[],
): Promise<void> {
  const text = stringify({ version: 1, repositories })
  parseYaml({ file: repositoriesFile, text, maxBytes }, repositoriesForm)
  await replaceFile(join(home, repositoriesFile), text)
}
