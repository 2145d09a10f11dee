import { execa } from 'execa'
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')

/**
 * Puts an index without tables into the folder: initdb takes six seconds of a core, and gives every
 * Kiln the same. Made once on this machine, by the program that a first start runs.
 */
export async function emptyIndex(folder: string): Promise<void> {
  const made = join(root, '.cache', `empty-index-${await versionOf('@electric-sql/pglite')}`)
  if ((await stat(made).catch(() => undefined)) === undefined) {
    const half = `${made}.${process.pid}`
    await rm(half, { recursive: true, force: true })
    const script = join(root, 'src/ledger/index-init.ts')
    await execa(process.execPath, ['--liftoff-only', script, half])
    // Somebody else's is as good.
    await rename(half, made).catch(() => rm(half, { recursive: true }))
  }
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await execa('cp', ['-a', made, join(folder, 'pg')])
}

async function versionOf(name: string): Promise<string> {
  const text = await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
