import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { callDocker } from '../docker/client.ts'
import { engineEvents } from '../docker/events.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { errnoOf } from '../store/disk-error.ts'
import type { Engine } from './engine.ts'
import { environmentOfContainer, networkName, type Naming } from './label.ts'

/** A file is begun anew at this size; the one before is kept. */
const largestFile = 5 * 1024 * 1024
/** Instances of one environment whose logs are kept, the newest. */
const keptInstances = 20
const longestLine = 16 * 1024

type Place = { naming: Naming; folder: string }

/**
 * The environment's last lines, instances that are gone included, oldest first, each as
 * `<time> <instance> <line>`. Undefined when there are none.
 */
export async function instanceLogs(
  { naming, folder }: Place,
  { environment, tail }: { environment: EnvironmentName; tail: number },
): Promise<string | undefined> {
  const names = await logNames({ naming, folder }, environment)
  const lines = await Promise.all(names.map((name) => linesOf(folder, name)))
  const last = lines
    .flat()
    .toSorted((a, b) => (a < b ? -1 : 1))
    .slice(-tail)
  return last.length === 0 ? undefined : `${last.join('\n')}\n`
}

async function linesOf(folder: string, name: string): Promise<string[]> {
  return (await readLog(folder, name)).map((line) => {
    const space = line.indexOf(' ')
    return `${line.slice(0, space)} ${name} ${line.slice(space + 1)}`
  })
}

/** What is kept of one instance's output, each line as `<time> <line>`. */
async function readLog(folder: string, name: string): Promise<string[]> {
  const before = await readLines(join(folder, `${name}.log.1`))
  return [...before, ...(await readLines(join(folder, `${name}.log`)))]
}

async function readLines(path: string): Promise<string[]> {
  const lines: string[] = []
  try {
    for await (const line of createInterface({ input: createReadStream(path) })) lines.push(line)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
  return lines
}

/** Instances of the environment that have a log, oldest epoch first. */
async function logNames(
  { naming, folder }: Place,
  environment: EnvironmentName,
): Promise<string[]> {
  const prefix = `${networkName(naming, environment)}.`
  const files = await readdir(folder).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  })
  const names = new Set(
    files.filter((file) => file.startsWith(prefix)).map((file) => file.replace(/\.log(\.1)?$/, '')),
  )
  return [...names].toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }))
}

/**
 * Copies every instance's output into the folder while it runs, so that it outlives the instance: one file
 * each, begun anew at 5 MB, the newest 20 instances of an environment. Runs until `signal` is aborted.
 */
export async function collectLogs(
  { docker, naming, folder, logger }: Engine & { folder: string; logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const following = new Set<string>()
  const place = { docker, naming, folder }
  const begin = (instance: Instance) => {
    if (following.has(instance.id)) return
    following.add(instance.id)
    void prune(place, instance.environment)
      .then(() => copyLog(place, instance, signal))
      .catch((error: unknown) => {
        if (!signal.aborted) logger.warn({ err: error, instance: instance.name }, 'log lost')
      })
      .finally(() => following.delete(instance.id))
  }
  while (!signal.aborted) {
    await followStarts(place, begin, signal).catch(() => undefined)
    await delay(500, undefined, { signal }).catch(() => undefined)
  }
}

type Instance = { id: string; name: string; environment: EnvironmentName }

async function followStarts(
  { docker, naming }: Engine,
  begin: (instance: Instance) => void,
  signal: AbortSignal,
): Promise<void> {
  const named = (id: string, name: string, labels: Readonly<Record<string, string>>) => {
    const environment = environmentOfContainer(naming, { name, labels })
    if (environment !== null && name.startsWith(`${naming.prefix}.`))
      begin({ id, name, environment })
  }
  const filters = { type: ['container'], event: ['start'] }
  const events = engineEvents(docker, { filters, signal })
  const first = events.next()
  first.catch(() => undefined)
  for (const one of await callDocker(() => docker.listContainers())) {
    named(one.Id, (one.Names[0] ?? '').slice(1), one.Labels)
  }
  for (let next = await first; next.done !== true; next = await events.next()) {
    const { id, attributes } = next.value
    named(id, attributes['name'] ?? '', attributes)
  }
}

/** From where the file ends: the engine's times say which lines it has. */
async function copyLog(
  { docker, folder }: Engine & { folder: string },
  { id, name }: Instance,
  signal: AbortSignal,
): Promise<void> {
  const path = join(folder, `${name}.log`)
  const lastTime = (await readLog(folder, name)).at(-1)?.split(' ')[0] ?? ''
  const raw = await callDocker(() =>
    docker.getContainer(id).logs({
      follow: true,
      stdout: true,
      stderr: true,
      timestamps: true,
      abortSignal: signal,
      ...(lastTime === '' ? {} : { since: sinceOf(lastTime) }),
    }),
  )
  const output = new PassThrough()
  docker.modem.demuxStream(raw, output, output)
  raw.once('end', () => output.end())
  raw.once('error', () => output.end())
  const file = cappedFile(path)
  try {
    for await (const line of createInterface({ input: output })) {
      if (line.slice(0, line.indexOf(' ')) > lastTime) await file.add(line.slice(0, longestLine))
    }
  } finally {
    await file.close()
  }
}

/** Whole seconds before: the lines of that second are compared by their own times. */
function sinceOf(time: string): number {
  return Math.floor(Date.parse(time) / 1000)
}

function cappedFile(path: string): {
  add: (line: string) => Promise<void>
  close: () => Promise<void>
} {
  let file: FileHandle | null = null
  let size = 0
  return {
    async add(line) {
      if (file === null) {
        file = await open(path, 'a', 0o600)
        size = (await file.stat()).size
      }
      const bytes = Buffer.from(`${line}\n`)
      await file.writeFile(bytes)
      size += bytes.length
      if (size < largestFile) return
      await file.close()
      file = null
      await rename(path, `${path}.1`)
    },
    async close() {
      await file?.close()
    },
  }
}

async function prune(place: Place, environment: EnvironmentName): Promise<void> {
  const old = (await logNames(place, environment)).slice(0, -keptInstances)
  for (const name of old) {
    for (const end of ['.log', '.log.1']) {
      await unlink(join(place.folder, `${name}${end}`)).catch(() => undefined)
    }
  }
}
