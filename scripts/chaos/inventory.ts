import { execa } from 'execa'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ask } from '../../src/edge/socket.ts'
import { pathsOf } from '../../src/main/paths.ts'
import type { Histories, HistoryRow, Left } from './checker/evidence.ts'
import type { Session } from './session.ts'

/** What is asked at the end, when nothing is in work. */

type Engines = { runtime: string; build: string }

/** Everything of this Kiln that the engines still list. */
export async function listLeft(
  engines: Engines,
  { host, builds }: { host: string; builds: readonly string[] },
): Promise<Left> {
  const own = ['--filter', `label=kiln.host=${host}`]
  const format = ['--format', '{{.ID}}\t{{.Names}}\t{{.State}}']
  const containers = rows(
    await docker(engines.runtime, ['ps', '-a', '--no-trunc', ...own, ...format]),
  )
  const left = await Promise.all([...new Set(builds)].map((build) => leftOf(engines.build, build)))
  return {
    containers: [
      ...containers.map(([id = '', name = '', state = '']) => ({
        id,
        name,
        state,
        kind: 'instance' as const,
      })),
      ...left.flatMap((one) => one.containers),
    ],
    networks: lines(
      await docker(engines.runtime, ['network', 'ls', ...own, '--format', '{{.Name}}']),
    ),
    volumes: left.flatMap((one) => one.volumes),
    images: left.flatMap((one) => one.images),
  }
}

/** What a build left; the cache of its app has a name of its own and stays. */
async function leftOf(engine: string, build: string) {
  const label = ['--filter', `label=kiln.build=${build}`]
  const containers = rows(
    await docker(engine, [
      'ps',
      '-a',
      '--no-trunc',
      ...label,
      '--format',
      '{{.ID}}\t{{.Names}}\t{{.State}}',
    ]),
  )
  const images = lines(await docker(engine, ['images', ...label, '--format', '{{.Repository}}']))
  return {
    containers: containers.map(([id = '', name = '', state = '']) => ({
      id,
      name,
      state,
      kind: 'build' as const,
    })),
    volumes: lines(await docker(engine, ['volume', 'ls', '-q', ...label])),
    images: images
      .filter((name) => !name.startsWith('kiln-cache/'))
      .map((name) => `${build} ${name}`),
  }
}

async function docker(engine: string, words: readonly string[]): Promise<string> {
  return (await execa('docker', ['-H', engine, ...words])).stdout
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}

function rows(text: string): string[][] {
  return lines(text).map((line) => line.split('\t'))
}

export async function edgeStat(home: string): Promise<string> {
  return ask(pathsOf(home).haproxySocket, 'show stat')
}

/** Each environment's whole history from SQL, before and after the index is made anew from the log. */
export async function readHistories(session: Session): Promise<Histories> {
  const before = await histories(session)
  await session.call((api) => api.reindex({}))
  const after = await histories(session)
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return Object.fromEntries(
    names.map((name) => [name, { before: before[name] ?? [], after: after[name] ?? [] }]),
  )
}

async function histories(session: Session): Promise<Record<string, HistoryRow[]>> {
  const { items } = await session.call((api) => api.environments({}))
  const all: Record<string, HistoryRow[]> = {}
  for (const { name, app, environment } of items) {
    const found: HistoryRow[] = []
    let cursor: string | undefined
    do {
      const query = { limit: 100, ...(cursor === undefined ? {} : { cursor }) }
      const page = await session.call((api) => api.history({ params: { app, environment }, query }))
      found.push(...page.items)
      cursor = page.next ?? undefined
    } while (cursor !== undefined)
    all[name] = found
  }
  return all
}

export async function supervisorPid(home: string): Promise<number | null> {
  const text = await readFile(join(home, 'run/supervisor.json'), 'utf8').catch(() => '{}')
  return (JSON.parse(text) as { pid?: number }).pid ?? null
}
