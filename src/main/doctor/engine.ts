import { existsSync, statfsSync } from 'node:fs'
import { Client } from 'undici'
import { atLeast, good, missing, warning, type Check } from './check.ts'
import type { Config } from '../config.ts'
import { guardName } from '../naming.ts'
import { judgeSpace } from './machine.ts'

const answerMs = 5000
/** For people who wait. */
const askMs = 2000

/** What an engine says of itself. `guards`: the authorization plugins that it asks. */
export type EngineFacts = {
  version: string
  liveRestore: boolean
  root?: string
  guards?: readonly string[]
}

/** The engines that run instances and that build: reachable, new enough, set as they should be. */
export async function checkEngines({
  docker,
  minFree: least,
  hostName,
}: Pick<Config, 'docker' | 'minFree' | 'hostName'>): Promise<Check[]> {
  const shared = docker.runtime === docker.build
  const guarded = (facts: EngineFacts) => [judgeGuard(facts, guardName(hostName))]
  const runtime = await engineChecks(
    'Docker Engine',
    { socketPath: docker.runtime, least },
    guarded,
  )
  if (shared) return [...runtime, sharedEngine()]
  const builds = { socketPath: docker.build, least }
  return [...runtime, ...(await engineChecks('Docker Engine for builds', builds, () => []))]
}

async function engineChecks(
  name: string,
  { socketPath, least }: { socketPath: string; least: number },
  more: (facts: EngineFacts) => Check[],
): Promise<Check[]> {
  try {
    const facts = await readFacts(socketPath)
    return [...judgeEngine(name, facts), ...judgeRoot(name, facts, least), ...more(facts)]
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error)
    const fix = `sh scripts/setup.sh starts one; DOCKER_HOST names another than ${socketPath}`
    return [missing({ name, found, wanted: `an answer at ${socketPath}` }, fix)]
  }
}

/** Asked without the engine's client: an engine that hangs must not make the doctor hang. */
async function readFacts(socketPath: string, limitMs = answerMs): Promise<EngineFacts> {
  const client = new Client('http://engine', { socketPath })
  try {
    const signal = AbortSignal.timeout(limitMs)
    const { body, statusCode } = await client.request({ path: '/info', method: 'GET', signal })
    const info = (await body.json()) as {
      ServerVersion?: string
      LiveRestoreEnabled?: boolean
      DockerRootDir?: string
      Plugins?: { Authorization?: string[] | null }
      message?: string
    }
    // An engine whose guard is away refuses everything.
    if (statusCode !== 200) throw new Error(info.message ?? `HTTP ${statusCode}`)
    return {
      version: info.ServerVersion ?? 'unknown',
      liveRestore: info.LiveRestoreEnabled === true,
      ...(info.DockerRootDir === undefined ? {} : { root: info.DockerRootDir }),
      guards: info.Plugins?.Authorization ?? [],
    }
  } finally {
    await client.destroy()
  }
}

/** A second lock, which not every machine needs: without it Kiln works all the same. */
export function judgeGuard({ guards = [] }: EngineFacts, wanted: string): Check {
  const found = guards.length === 0 ? 'no authorization plugin' : guards.join(', ')
  const finding = { name: 'guard', found, wanted: `${wanted}, where people reach the engine` }
  return guards.includes(wanted)
    ? good(finding)
    : warning(finding, 'docs/guard.md says how the engine gets it; a laptop needs none')
}

/** Whether the engine asks this host's guard; for people who wait, so not for long. */
export async function guardState({
  docker,
  hostName,
}: Pick<Config, 'docker' | 'hostName'>): Promise<'in place' | 'absent' | 'unknown'> {
  try {
    const { guards = [] } = await readFacts(docker.runtime, askMs)
    return guards.includes(guardName(hostName)) ? 'in place' : 'absent'
  } catch {
    return 'unknown'
  }
}

/** The engine's own folder, where it is on this machine; none of an engine that does not answer. */
export async function rootOf(socketPath: string): Promise<string[]> {
  const { root } = await readFacts(socketPath, askMs).catch((): Partial<EngineFacts> => ({}))
  return root !== undefined && existsSync(root) ? [root] : []
}

export function judgeEngine(name: string, { version, liveRestore }: EngineFacts): Check[] {
  const finding = { name, found: version, wanted: '20.10 or newer' }
  return [
    atLeast(version, '20.10')
      ? good(finding)
      : missing(finding, 'apt-get install -y docker.io, or a newer Docker Engine'),
    judgeLiveRestore(name, liveRestore),
  ]
}

/** Of an engine on another machine the disk cannot be seen from here. */
function judgeRoot(engine: string, { root }: EngineFacts, least: number): Check[] {
  if (root === undefined || !existsSync(root)) return []
  const { bavail, bsize } = statfsSync(root)
  return [judgeSpace(bavail * bsize, least, `${engine}: disk space`)]
}

function judgeLiveRestore(engine: string, on: boolean): Check {
  const finding = { name: `${engine}: live-restore`, found: on ? 'on' : 'off', wanted: 'on' }
  if (on) return good(finding)
  const fix =
    'instances stop with the engine; set {"live-restore": true} in /etc/docker/daemon.json and reload it'
  return warning(finding, fix)
}

function sharedEngine(): Check {
  return warning(
    {
      name: 'Docker Engine for builds',
      found: 'the one that runs instances',
      wanted: 'one of its own, in production',
    },
    'KILN_BUILD_DOCKER_HOST=unix:///run/docker-build.sock names it; sharing is fine on a laptop',
  )
}
