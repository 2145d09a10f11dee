import { existsSync, statfsSync } from 'node:fs'
import { Client } from 'undici'
import { atLeast, good, missing, warning, type Check } from './check.ts'
import { judgeSpace } from './machine.ts'

const answerMs = 5000

/** What an engine says of itself. */
export type EngineFacts = { version: string; liveRestore: boolean; root?: string }

/** The engines that run instances and that build: reachable, new enough, set as they should be. */
export async function checkEngines(
  docker: { runtime: string; build: string },
  least: number,
): Promise<Check[]> {
  const shared = docker.runtime === docker.build
  const runtime = await engineChecks('Docker Engine', docker.runtime, least)
  if (shared) return [...runtime, sharedEngine()]
  return [...runtime, ...(await engineChecks('Docker Engine for builds', docker.build, least))]
}

async function engineChecks(name: string, socketPath: string, least: number): Promise<Check[]> {
  try {
    const facts = await readFacts(socketPath)
    return [...judgeEngine(name, facts), ...judgeRoot(name, facts, least)]
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error)
    const fix = `sh scripts/setup.sh starts one; DOCKER_HOST names another than ${socketPath}`
    return [missing({ name, found, wanted: `an answer at ${socketPath}` }, fix)]
  }
}

/** Asked without the engine's client: an engine that hangs must not make the doctor hang. */
async function readFacts(socketPath: string): Promise<EngineFacts> {
  const client = new Client('http://engine', { socketPath })
  try {
    const signal = AbortSignal.timeout(answerMs)
    const { body } = await client.request({ path: '/info', method: 'GET', signal })
    const info = (await body.json()) as {
      ServerVersion?: string
      LiveRestoreEnabled?: boolean
      DockerRootDir?: string
    }
    return {
      version: info.ServerVersion ?? 'unknown',
      liveRestore: info.LiveRestoreEnabled === true,
      ...(info.DockerRootDir === undefined ? {} : { root: info.DockerRootDir }),
    }
  } finally {
    await client.destroy()
  }
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
