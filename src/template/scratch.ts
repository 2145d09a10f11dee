import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Gives `use` a folder of its own below `parent` and removes it afterwards. What processes that were
 * killed left under the same `kind` is removed first: in memory it would stay until the next boot.
 */
export async function withScratch<T>(
  { kind, parent }: { parent: string; kind: string },
  use: (folder: string) => Promise<T>,
): Promise<T> {
  await mkdir(parent, { recursive: true })
  const left = (await readdir(parent)).filter((name) => isLeft(name, kind))
  await Promise.all(left.map((name) => rm(join(parent, name), { recursive: true, force: true })))
  const folder = await mkdtemp(join(parent, `kiln-${kind}-${process.pid}-`))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function isLeft(name: string, kind: string): boolean {
  const match = /^kiln-([a-z]+)-(\d+)-/.exec(name)
  return match?.[1] === kind && !isAlive(Number(match[2]))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}
