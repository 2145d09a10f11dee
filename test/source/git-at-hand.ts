import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { repackTar } from '../../src/oci/context.ts'
import { sourceActivities, type SourceActivities } from '../../src/source/activities.ts'
import type { FoundSource } from '../../src/source/read-source.ts'
import { createGit } from '../../src/source/git.ts'
import { createMirror } from '../../src/source/mirror.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'

const kilnYaml = `version: 1
app: hello
template: node-service
environments:
  - name: dev
  - name: prod
    instances: { min: 2, max: 4 }
`

/** Everything that a test needs of git: a folder of repositories, a store and the activities over them. */
export async function gitAtHand(limits: { maxPackBytes?: number } = {}) {
  const root = await mkdtemp(join(tmpdir(), 'kiln-source-'))
  const repositories = join(root, 'repositories')
  await mkdir(repositories)
  const environment = { PATH: process.env['PATH'] ?? '', HOME: root }
  const git = createGit({ environment, maxPackBytes: 100_000_000, timeoutMs: 60_000, ...limits })
  const folder = join(root, 'source')
  const mirror = createMirror({
    git,
    folder,
    resolve: async () => ['127.0.0.1'],
    proxied: false,
    now: () => new Date(),
  })
  const store = openFolderStore({ root: join(root, 'store') })
  const aborting = new AbortController()
  const activities = sourceActivities({
    store,
    git,
    mirror,
    rules: { allowedPaths: [repositories], allowedHosts: [] },
    repack: (content, { mtime }) => repackTar(content, { mtime, spoolFolder: root }),
    activity: () => ({ signal: aborting.signal, heartbeat: () => undefined }),
  })
  return {
    root,
    repositories,
    folder,
    git,
    mirror,
    store,
    activities: {
      ...activities,
      /** Of a repository that is one app. */
      async resolveSource(input: ResolveInput): Promise<FoundSource> {
        const found = await activities.resolveSource(input)
        if ('apps' in found) throw new Error('the repository holds several apps')
        return found
      },
    },
    /** Of any repository. */
    resolve: activities.resolveSource,
    abort: () => aborting.abort(),
    close: () => rm(root, { recursive: true, force: true }),
  }
}

type ResolveInput = Parameters<SourceActivities['resolveSource']>[0]

export type GitAtHand = Awaited<ReturnType<typeof gitAtHand>>

/** Runs git as a person does, under a fixed name and clock. */
export async function person(folder: string, ...args: string[]): Promise<string> {
  const { stdout } = await execa('git', ['-C', folder, ...args], {
    env: {
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@example.org',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@example.org',
      GIT_AUTHOR_DATE: '1767225600 +0000',
      GIT_COMMITTER_DATE: '1767225600 +0000',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_ALLOW_PROTOCOL: 'file',
    },
  })
  return stdout
}

/** A repository with one commit of these files, and kiln.yaml unless they hold one. */
export async function makeRepository(
  folder: string,
  files: Readonly<Record<string, string>> = {},
): Promise<string> {
  await mkdir(folder, { recursive: true })
  await person(folder, 'init', '--quiet', '--initial-branch=main')
  return commitFiles(folder, { 'kiln.yaml': kilnYaml, ...files })
}

export async function commitFiles(
  folder: string,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), content)
  }
  await person(folder, 'add', '--all')
  await person(folder, 'commit', '--quiet', '--message', 'a commit\n\nwith more')
  return person(folder, 'rev-parse', 'HEAD')
}
