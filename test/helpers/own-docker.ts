import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDocker } from '../../src/docker/client.ts'

/**
 * A Docker Engine of a test's own, which may be stopped and killed, with a bridge of its own: one
 * without (`--bridge=none`) would remove docker0 from the machine, and with it the other engine's network.
 */
export type OwnDocker = {
  socketPath: string
  start: () => Promise<void>
  stop: (signal: 'SIGTERM' | 'SIGKILL') => Promise<void>
  /** As a power cut does: the engine, what it runs and what watches over that, killed at once. */
  crash: () => Promise<void>
  close: () => Promise<void>
}

/**
 * `live`: containers outlive the engine, as Kiln's own set-up has it. `guards`: authorization plugins, which
 * must answer by then.
 */
export async function ownDocker({
  live = false,
  guards = [],
}: { live?: boolean; guards?: readonly string[] } = {}): Promise<OwnDocker> {
  const root = mkdtempSync(join(tmpdir(), 'kiln-docker-'))
  const socketPath = join(root, 'docker.sock')
  const bridge = `kiln${randomBytes(4).toString('hex')}`
  run('ip', ['link', 'add', bridge, 'type', 'bridge'])
  run('ip', ['addr', 'add', `10.213.${randomInt(256)}.1/24`, 'dev', bridge])
  const log = openSync(join(root, 'log'), 'a')
  let daemon: ChildProcess | undefined

  async function start(): Promise<void> {
    const folders = ['--data-root', join(root, 'data'), '--exec-root', join(root, 'exec')]
    const own = ['-H', `unix://${socketPath}`, '--pidfile', join(root, 'pid')]
    const network = [`--bridge=${bridge}`, '--iptables=false', '--ip6tables=false']
    const asked = guards.map((name) => `--authorization-plugin=${name}`)
    const words = [...folders, ...own, ...network, ...asked, ...(live ? ['--live-restore'] : [])]
    daemon = spawn('dockerd', words, { stdio: ['ignore', log, log] })
    await answering(socketPath, () => readFileSync(join(root, 'log'), 'utf8'))
  }

  async function stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const stopped = daemon
    daemon = undefined
    if (stopped === undefined) return
    stopped.kill(signal)
    if (stopped.exitCode === null && stopped.signalCode === null) await once(stopped, 'exit')
    if (signal === 'SIGTERM') return
    // Otherwise the next one takes them for daemons that still run.
    for (const pid of ['pid', 'exec/containerd/containerd.pid'])
      rmSync(join(root, pid), { force: true })
  }

  async function crash(): Promise<void> {
    const docker = createDocker({ socketPath })
    const containers = await docker.listContainers()
    const inspected = await Promise.all(
      containers.map(({ Id }) => docker.getContainer(Id).inspect()),
    )
    const pids = [...processesOf(root), ...inspected.map(({ State }) => State.Pid)]
    const stopped = daemon
    daemon = undefined
    for (const pid of pids) if (pid > 0) kill(pid)
    if (stopped !== undefined && stopped.exitCode === null && stopped.signalCode === null)
      await once(stopped, 'exit')
    // After a power cut nothing below /run is left.
    for (const pid of ['pid', 'exec/containerd/containerd.pid'])
      rmSync(join(root, pid), { force: true })
  }

  await start()
  return {
    socketPath,
    start,
    stop,
    crash,
    async close() {
      if (daemon === undefined) await start()
      const bridges = await bridgesOf(socketPath)
      await stop('SIGTERM')
      // An engine leaves them when it ends, and each takes a range of addresses from all others.
      for (const one of bridges) spawnSync('ip', ['link', 'delete', one], { stdio: 'ignore' })
      // A killed daemon leaves its root mounted onto itself, and the next one takes it as it is.
      spawnSync('umount', [join(root, 'data')], { stdio: 'ignore' })
      run('ip', ['link', 'delete', bridge])
      rmSync(root, { recursive: true, force: true })
    },
  }
}

/** The machine's interfaces of its networks but the first. */
async function bridgesOf(socketPath: string): Promise<string[]> {
  const networks = await createDocker({ socketPath }).listNetworks()
  return networks
    .filter(({ Driver, Name }) => Driver === 'bridge' && Name !== 'bridge')
    .map(({ Id }) => `br-${Id.slice(0, 12)}`)
}

/** Pids of the daemons and shims whose command line names the folder. */
function processesOf(root: string): number[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isSafeInteger)
  return pids.filter((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return pid !== process.pid && /(dockerd|containerd)/.test(words) && words.includes(root)
    } catch {
      return false
    }
  })
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended with the others.
  }
}

function run(command: string, words: readonly string[]): void {
  execFileSync(command, words, { stdio: ['ignore', 'ignore', 'inherit'] })
}

async function answering(socketPath: string, log: () => string): Promise<void> {
  const docker = createDocker({ socketPath })
  const deadline = Date.now() + 60_000
  for (;;) {
    try {
      await docker.ping()
      return
    } catch (cause) {
      if (Date.now() > deadline)
        throw new Error(`no dockerd came up: ${log().slice(-2000)}`, { cause })
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}
