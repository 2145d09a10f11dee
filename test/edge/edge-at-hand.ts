import { spawn, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Definition } from '../../src/domain/definition.ts'
import type { Digest } from '../../src/domain/digest.ts'
import type { EffectFence } from '../../src/domain/effect.ts'
import { openEdgeRoom, type EdgeDependencies } from '../../src/edge/activities.ts'
import { haproxyCommand, renderInitialConfig } from '../../src/edge/edge.ts'
import { showProcesses, type EdgePaths } from '../../src/edge/master.ts'
import { attempt, logger, until } from '../runtime/host-at-hand.ts'

/** Runs what it is given: the fence has tests of its own. */
export const openGate: EffectFence = {
  run: (_effect, { signal }, act) => act(signal),
}

export type EdgeAtHand = Awaited<ReturnType<typeof edgeAtHand>>

/** A real HAProxy with files, sockets and ports of its own. Paths are short: Unix sockets demand it. */
export async function edgeAtHand(
  definitions: ReadonlyMap<Digest, Definition>,
  options: Partial<EdgeDependencies> = {},
) {
  const folder = await mkdtemp('/tmp/kiln-edge-')
  const paths: EdgePaths = {
    config: join(folder, 'haproxy.cfg'),
    state: join(folder, 'state.json'),
    map: join(folder, 'readiness.map'),
    socket: join(folder, 'haproxy.sock'),
    masterSocket: join(folder, 'master.sock'),
  }
  // Below the system's own range; tests run side by side.
  const first = randomInt(12_000, 32_000)
  const ports = { first, last: first + 30 }
  const output: string[] = []
  let haproxy: ChildProcess | null = null

  const edge = {
    paths,
    output,
    ...roomWith({}),
    activitiesWith,
    async start() {
      await renderInitialConfig({ paths, entrance: options.entrance ?? null })
      await edge.restart()
    },
    /** With the files as they lie there. */
    async restart() {
      const [program = '', ...args] = haproxyCommand(paths)
      haproxy = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
      haproxy.stderr?.on('data', (part: Buffer) => output.push(part.toString('utf8')))
      await until(() => answers(paths))
    },
    /** As a crash does it: the master and every worker at once. */
    async kill() {
      if (haproxy === null || haproxy.exitCode !== null) return
      const { worker, old } = await showProcesses(paths)
      const ended = once(haproxy, 'exit')
      haproxy.kill('SIGKILL')
      for (const pid of [worker, ...old]) if (pid !== null) killIfThere(pid)
      await ended
      haproxy = null
    },
    async close() {
      await edge.kill()
      await rm(folder, { recursive: true, force: true })
    },
  }

  function activitiesWith(change: Partial<EdgeDependencies>) {
    return roomWith(change).activities
  }

  function roomWith(change: Partial<EdgeDependencies>) {
    return openEdgeRoom({
      paths,
      ports,
      fence: openGate,
      definition: async (digest) => {
        const found = definitions.get(digest)
        if (found === undefined) throw new Error(`no definition ${digest}`)
        return found
      },
      logger,
      now: () => new Date(),
      activity: attempt,
      ...options,
      ...change,
    })
  }

  await edge.start()
  return edge
}

async function answers(paths: EdgePaths): Promise<boolean> {
  return showProcesses(paths).then(
    ({ worker }) => worker !== null,
    () => false,
  )
}

/** A worker that drained has ended by itself at any moment. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
