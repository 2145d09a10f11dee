import { cp, lstat, mkdir, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { execa } from 'execa'

/** A copy of the working tree in which anything may be broken. */
export type TreeCopy = {
  root: string
  /** Applies a patch, line for line. Throws what git says when it does not apply. */
  apply(patch: string): Promise<void>
  /** Takes the same patch out again. */
  revert(patch: string): Promise<void>
  remove(): Promise<void>
}

/** What is not in git, and what tests need: linked, never changed. */
const linked = ['node_modules', '.cache']

/** Copies what git knows or would add, as it stands in the working tree. */
export async function copyTree(root: string): Promise<TreeCopy> {
  const copy = await realpath(await mkdtemp(join(tmpdir(), 'kiln-mutants-')))
  const listed = await execa(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
    { cwd: root, stripFinalNewline: false },
  )
  for (const file of new Set(listed.stdout.split('\0').filter(Boolean))) {
    if (!(await exists(join(root, file)))) continue
    await mkdir(dirname(join(copy, file)), { recursive: true })
    await cp(join(root, file), join(copy, file), { verbatimSymlinks: true })
  }
  await mkdir(join(root, '.cache'), { recursive: true })
  for (const name of linked) await symlink(join(root, name), join(copy, name))
  return {
    root: copy,
    apply: (patch) => gitApply(copy, [patch]),
    revert: (patch) => gitApply(copy, ['--reverse', patch]),
    remove: () => rm(copy, { recursive: true, force: true }),
  }
}

/** The copy is no repository, and a repository further up must not be taken for its own. */
async function gitApply(copy: string, args: readonly string[]): Promise<void> {
  const applied = await execa('git', ['apply', ...args], {
    cwd: copy,
    env: { GIT_CEILING_DIRECTORIES: dirname(copy) },
    reject: false,
  })
  if (applied.exitCode === 0) return
  throw new Error(applied.stderr || applied.shortMessage || 'git apply failed')
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  )
}
