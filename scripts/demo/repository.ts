import { execa } from 'execa'
import { randomUUID } from 'node:crypto'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A git repository made from `examples/hello`, as a team would have one. */
export type Repository = { path: string; commit: (message: string) => Promise<string> }

export async function makeRepository(path: string, example: string): Promise<Repository> {
  await rm(path, { recursive: true, force: true })
  await mkdir(path, { recursive: true })
  await cp(example, path, { recursive: true, filter: (source) => !source.includes('node_modules') })
  const git = (...args: string[]) => execa('git', args, { cwd: path })
  await git('init', '--quiet', '--initial-branch=main')
  await git('config', 'user.name', 'Demo')
  // Two made in one second would have the same commit, and builds of one id are one build in an engine.
  await git('config', 'user.email', `demo-${randomUUID()}@localhost`)
  return {
    path,
    async commit(message) {
      await git('add', '--all')
      await git('commit', '--quiet', '--message', message)
      return (await git('rev-parse', 'HEAD')).stdout.trim()
    },
  }
}

/** Changes one line of the service, so that the next commit is another artifact. */
export async function changeGreeting(repository: Repository, greeting: string): Promise<void> {
  const file = join(repository.path, 'message.txt')
  await readFile(file)
  await writeFile(file, `${greeting}\n`)
}
