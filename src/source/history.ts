import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Git } from './git.ts'
import type { Remote } from './git-remote.ts'

type Question = {
  remote: Remote
  commit: string
  /** References in full, which exist; patterns are allowed. */
  refs: readonly string[]
  /** An empty folder for the history, which the caller removes. */
  folder: string
  signal: AbortSignal
}

/**
 * Whether a commit is one of the named references, or an ancestor of one. A server gives out whatever
 * id is asked for, also what somebody only proposed (refs/pull of a fork): that a commit can be fetched
 * says nothing about who let it in. Fetches commits without their files where the server can do that.
 */
export async function isReached(
  git: Git,
  { remote, commit, refs, folder, signal }: Question,
): Promise<boolean> {
  await git.text(['init', '--quiet', '--bare', '--template=', folder], { signal })
  const specs = refs.map((ref) => `+${ref}:${ref}`)
  const options = ['--quiet', '--no-tags', '--no-write-fetch-head', '--no-auto-maintenance']
  const { url } = remote.repository
  await git.text(['fetch', ...options, '--filter=tree:0', '--end-of-options', url, ...specs], {
    folder,
    remote,
    signal,
  })
  // git must not go and ask the server for what did not come.
  await writeFile(join(folder, 'config'), '[core]\n\trepositoryformatversion = 0\n\tbare = true\n')
  // Everything that came is an ancestor of what was asked for; what did not come is not.
  const kind = await git.text(['cat-file', '--batch-check'], {
    folder,
    signal,
    input: `${commit}\n`,
  })
  return kind.startsWith(`${commit} commit `)
}
