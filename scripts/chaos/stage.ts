import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { createConnection } from 'node:net'
import { ownDocker, type OwnDocker } from '../../test/helpers/own-docker.ts'
import { dockerEffects, startAnswerProxy, type AnswerProxy } from './answer-proxy.ts'
import { openBucket } from './bucket.ts'
import type { Target } from './kills.ts'
import { until } from './session.ts'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

/** What a long run puts around Kiln: an engine and a Temporal server that may be killed, a bucket, and proxies that drop answers. */
export type Stage = {
  /** Kiln's settings for them. */
  settings: Readonly<Record<string, string>>
  /** The engine that runs instances, past the proxy, as the docker command names it. */
  engine: string
  targets: readonly Target[]
  docker: AnswerProxy
  builds: AnswerProxy
  temporal: TcpProxy
  store: AnswerProxy
  /** Where the bucket's objects lie as files. */
  objects: string
  close: () => Promise<void>
}

export async function openStage(folder: string): Promise<Stage> {
  mkdirSync(folder, { recursive: true })
  const engine = await ownDocker({ live: true })
  const sockets = { docker: join(folder, 'd.sock'), builds: join(folder, 'b.sock') }
  const docker = await beforeEngine(sockets.docker, engine.socketPath)
  const builds = await beforeEngine(sockets.builds, '/var/run/docker.sock')
  const server = await ownTemporal(folder)
  const bucket = await openBucket(folder)
  const temporal = await startTcpProxy({ host: '127.0.0.1', port: server.port })
  return {
    settings: {
      DOCKER_HOST: `unix://${sockets.docker}`,
      KILN_BUILD_DOCKER_HOST: `unix://${sockets.builds}`,
      KILN_TEMPORAL_ADDRESS: `127.0.0.1:${temporal.port}`,
      ...bucket.settings,
    },
    engine: `unix://${engine.socketPath}`,
    targets: [engineTarget(engine), server.target],
    docker,
    builds,
    temporal,
    store: bucket.proxy,
    objects: bucket.files,
    async close() {
      await docker.close()
      await builds.close()
      await temporal.close()
      await server.close()
      await engine.close()
      await bucket.close()
    },
  }
}

function beforeEngine(socketPath: string, engine: string): Promise<AnswerProxy> {
  return startAnswerProxy({ socketPath, to: { socketPath: engine }, effects: dockerEffects })
}

function engineTarget(engine: OwnDocker): Target {
  return { name: 'dockerd', kill: () => engine.stop('SIGKILL'), back: () => engine.start() }
}

/** Temporal's development server as Kiln itself runs it, durable in a file. */
async function ownTemporal(folder: string) {
  const log = openSync(join(folder, 'temporal.log'), 'a')
  const port = 20_000 + Math.floor(Math.random() * 10_000)
  let child: ChildProcess | undefined
  const start = async () => {
    const own = [`--port=${port}`, `--db-filename=${join(folder, 'temporal.db')}`]
    const durable = ['--sqlite-pragma=journal_mode=wal', '--sqlite-pragma=synchronous=full']
    child = spawn(
      'temporal',
      [
        'server',
        'start-dev',
        '--headless',
        '--log-level=warn',
        '--ip=127.0.0.1',
        ...own,
        ...durable,
      ],
      { stdio: ['ignore', log, log] },
    )
    await until('Temporal listens', 60_000, () => listens(port))
  }
  const stop = async (signal: 'SIGKILL' | 'SIGTERM') => {
    const running = child
    if (running === undefined || running.exitCode !== null) return
    running.kill(signal)
    if (running.exitCode === null && running.signalCode === null) await once(running, 'exit')
  }
  await start()
  const target: Target = { name: 'temporal', kill: () => stop('SIGKILL'), back: start }
  return { port, target, close: () => stop('SIGTERM') }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
