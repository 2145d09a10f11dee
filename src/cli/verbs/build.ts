import { resolve } from 'node:path'
import { KilnError } from '../../domain/error.ts'
import { begin, withWork, type WorkOptions } from './changes.ts'
import type { Verb } from './verb.ts'

type Options = WorkOptions & { cache: boolean; app?: string }

export const build: Verb = (program, run) => {
  withWork(program.command('build <repository@commit>'))
    .description('build an artifact from a commit, and begin its way through the environments')
    .option('--no-cache', 'build every step anew')
    .option('--app <name>', 'of a repository with several apps: only this one')
    .action(
      run<Options>(async (session, { args: [source = ''], options }) => {
        const { app, cache: useCache } = options
        const from = parseSource(source, session.cli.folder)
        const body = { ...from, useCache, ...(app === undefined ? {} : { app }) }
        const kiln = await session.cli.connect()
        return begin(session, options, { kiln, start: (call) => kiln.startBuild({ body }, call) })
      }),
    )
}

/** Splits at the last `@`: addresses such as git@host:path hold one of their own. */
export function parseSource(
  text: string,
  folder: string,
): { repository: string; revision: string } {
  const at = text.lastIndexOf('@')
  const repository = text.slice(0, Math.max(0, at))
  const revision = text.slice(at + 1)
  if (repository === '' || revision === '' || revision.includes(':')) {
    throw new KilnError('invalid_input', `no commit in ${JSON.stringify(text)}`, {
      fix: 'write it as <repository>@<commit>, for example ./hello@main',
    })
  }
  return { repository: repositoryOf(repository, folder), revision }
}

/** A relative path means a folder here; the server has another working folder. */
export function repositoryOf(text: string, folder: string): string {
  return /^\.{1,2}(\/|$)/.test(text) ? resolve(folder, text) : text
}
