import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Config } from '../config.ts'
import type { ProcessDescription } from './process-description.ts'

type Machine = {
  config: Config
  /** The node that runs Kiln. */
  node: string
  /** The repository. */
  root: string
  /** What every process inherits; Kiln's settings among it. */
  environment: Readonly<Record<string, string>>
  /** Writes the first haproxy.cfg where there is none; runs before each start of HAProxy. */
  prepareEdge: () => Promise<void>
}

/** The processes of one machine. Where a Temporal server is given, none of Kiln's own is among them. */
export function kilnProcesses(machine: Machine): readonly ProcessDescription[] {
  const { config } = machine
  const temporal = config.temporal.kind === 'own' ? [temporalServer(machine)] : []
  const needed = temporal.map(({ name }) => name)
  return [
    signer(machine),
    ...temporal,
    haproxy(machine),
    server(machine, ['signer', ...needed]),
    worker(machine, { name: 'build', port: config.ports.buildHealth, dependsOn: ['server'] }),
    worker(machine, {
      name: 'host',
      port: config.ports.hostHealth,
      dependsOn: ['server', 'haproxy'],
    }),
  ]
}

const patience = { readyMs: 60_000, graceMs: 15_000 }

/** A process of Kiln's own: `src/main/<name>.ts`. */
function own({ node, root, environment, config }: Machine, name: string) {
  return {
    name,
    command: node,
    args: [join(root, 'src', 'main', `${name}.ts`)],
    environment: { ...environment, KILN_HOME: config.home },
    ...patience,
  }
}

function signer(machine: Machine): ProcessDescription {
  const path = machine.config.paths.signerSocket
  return {
    ...own(machine, 'signer'),
    dependsOn: [],
    readiness: { kind: 'socket', path },
    address: path,
  }
}

function server(machine: Machine, dependsOn: readonly string[]): ProcessDescription {
  const address = `http://127.0.0.1:${machine.config.ports.api}`
  return {
    ...own(machine, 'server'),
    dependsOn,
    readiness: { kind: 'http', url: `${address}/health` },
    address,
  }
}

function worker(
  machine: Machine,
  { name, port, dependsOn }: { name: 'build' | 'host'; port: number; dependsOn: readonly string[] },
): ProcessDescription {
  const base = own(machine, name)
  return {
    ...base,
    environment: { ...base.environment, KILN_HEALTH_PORT: String(port) },
    dependsOn,
    readiness: { kind: 'http', url: `http://127.0.0.1:${port}/health` },
    address: null,
  }
}

/** Temporal's dev server on one SQLite file, durable at every commit. */
function temporalServer({ config, environment }: Machine): ProcessDescription {
  const { address } = config.temporal
  const { temporal: folder } = config.paths
  const [host, port] = ['127.0.0.1', config.ports.temporal]
  return {
    name: 'temporal',
    command: 'temporal',
    args: [
      ['server', 'start-dev', '--headless', '--log-level', 'warn'],
      ['--ip', host, '--port', String(port)],
      ['--db-filename', join(folder, 'temporal.db')],
      ['--sqlite-pragma', 'journal_mode=wal', '--sqlite-pragma', 'synchronous=full'],
    ].flat(),
    environment,
    dependsOn: [],
    readiness: { kind: 'check', host, port, check: () => hasNamespace(address, environment) },
    address,
    prepare: async () => {
      await mkdir(folder, { recursive: true, mode: 0o700 })
    },
    ...patience,
  }
}

/** The port is open before the namespace can be used. */
async function hasNamespace(
  address: string,
  environment: Readonly<Record<string, string>>,
): Promise<boolean> {
  const args = ['operator', 'namespace', 'describe', '--namespace', 'default', '--address', address]
  await promisify(execFile)('temporal', args, { env: { ...environment }, timeout: 5000 })
  return true
}

/**
 * Master and worker: a reload keeps connections. Its file is rendered before every change of what runs,
 * so one that is started again is right at once.
 */
function haproxy({ config, environment, prepareEdge }: Machine): ProcessDescription {
  const { edge, haproxySocket, run } = config.paths
  return {
    name: 'haproxy',
    command: 'haproxy',
    args: [
      ['-W', '-db', '-f', join(edge, 'haproxy.cfg')],
      ['-S', `${join(run, 'haproxy-master.sock')},mode,600`],
    ].flat(),
    environment,
    dependsOn: [],
    readiness: { kind: 'socket', path: haproxySocket },
    address: haproxySocket,
    prepare: prepareEdge,
    ...patience,
  }
}
