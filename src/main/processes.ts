import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { haproxyCommand, renderInitialConfig } from '../edge/edge.ts'
import type { Config } from './config.ts'
import { edgePathsOf } from './edge-paths.ts'
import { settings } from './settings.ts'
import type { ProcessDescription } from './supervisor/process-description.ts'
import { programFile } from './program.ts'
import { bundleMade } from './workflow-bundle.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** What children inherit: their settings, where programs and certificates are, nothing else. */
const inherited = [
  ...Object.keys(settings),
  'PATH',
  'HOME',
  'USER',
  'LANG',
  'TMPDIR',
  'NODE_COMPILE_CACHE',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'NODE_EXTRA_CA_CERTS',
  'GIT_SSL_CAINFO',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'NO_PROXY',
  'https_proxy',
  'http_proxy',
  'no_proxy',
  'SSH_AUTH_SOCK',
  'npm_config_registry',
  'npm_config_cafile',
]

export function childEnvironment(environment: Environment): Record<string, string> {
  return Object.fromEntries(
    inherited.flatMap((name) =>
      environment[name] === undefined ? [] : [[name, environment[name]]],
    ),
  )
}

/** The secrets that the machine's administrator gave as variables: the host's worker alone reads them. */
export function secretVariables(environment: Environment): Record<string, string> {
  return startingWith('KILN_SECRET_', environment)
}

/** What AWS's SDK goes by, its credentials among it, where a signing key is in KMS: the signer alone has it. */
export function awsVariables(environment: Environment): Record<string, string> {
  return startingWith('AWS_', environment)
}

function startingWith(prefix: string, environment: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      name.startsWith(prefix) && value !== undefined ? [[name, value]] : [],
    ),
  )
}

function health(port: number) {
  return { kind: 'http', url: `http://127.0.0.1:${port}/health` } as const
}

function withVariables<T extends Pick<ProcessDescription, 'environment'>>(
  process: T,
  more: Record<string, string>,
): T {
  return { ...process, environment: { ...process.environment, ...more } }
}

/** Kiln's processes on one machine, as data for the supervisor. */
export function processesOf(config: Config, environment: Environment): ProcessDescription[] {
  const { paths, ports, temporal } = config
  const base = { ...childEnvironment(environment), KILN_HOME: config.home }
  const edge = edgePathsOf(paths)
  const [haproxy = 'haproxy', ...haproxyArgs] = haproxyCommand(edge)
  const node = (name: string, healthPort?: number) => ({
    name,
    command: process.execPath,
    args: [...modestNode, programFile(name)],
    environment: {
      ...base,
      ...littleWaste,
      ...(healthPort === undefined ? {} : { KILN_HEALTH_PORT: String(healthPort) }),
    },
    readyMs: 60_000,
    graceMs: 20_000,
    address: null,
    ...patience(config),
  })
  const afterTemporal = temporal.kind === 'own' ? ['temporal'] : []
  return [
    {
      ...withVariables(node('signer'), awsVariables(environment)),
      dependsOn: [],
      readiness: { kind: 'socket', path: paths.signerSocket },
    },
    ...(temporal.kind === 'own' ? [ownTemporal(config, base)] : []),
    {
      name: 'haproxy',
      command: haproxy,
      args: haproxyArgs,
      environment: base,
      dependsOn: [],
      readiness: { kind: 'socket', path: edge.socket },
      readyMs: 15_000,
      graceMs: 15_000,
      address: null,
      prepare: () => renderInitialConfig({ paths: edge, entrance: config.entrance }),
    },
    {
      ...node('server'),
      // PGlite's engine is 90 MB smaller when it is not optimised for speed.
      args: [...modestNode, '--liftoff-only', programFile('server')],
      dependsOn: ['signer', ...afterTemporal],
      readiness: health(ports.api),
      // After a restore it makes its database, checks every entry of the log and folds all of it anew.
      readyMs: 180_000,
      address: `http://127.0.0.1:${ports.api}`,
      prepare: () => bundleInChild(paths.run),
    },
    {
      ...node('build', ports.buildHealth),
      dependsOn: ['server'],
      readiness: health(ports.buildHealth),
    },
    {
      ...withVariables(node('host', ports.hostHealth), secretVariables(environment)),
      dependsOn: ['server', 'haproxy'],
      readiness: health(ports.hostHealth),
    },
  ]
}

/**
 * V8 lets the space of what is new grow to 200 MB while there is work, and gives it back late or never:
 * a build worker that holds 60 MB stood at 345 MB after forty builds.
 */
const modestNode = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=8']

/** Where tests kill at every point, nobody waits for a process that keeps on dying. */
function patience({ crashAt }: Config): Pick<ProcessDescription, 'longestBackoffMs'> {
  return crashAt === undefined ? {} : { longestBackoffMs: 200 }
}

/** glibc keeps much of what its threads free; with fewer pools the server stays some 20 MB smaller. */
const littleWaste = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '65536',
  MALLOC_TRIM_THRESHOLD_: '131072',
}

/** The bundler takes some 200 MB: it has a process of its own, and only after the workflows' code changed. */
async function bundleInChild(folder: string): Promise<void> {
  if ((await bundleMade(folder)) !== undefined) return
  // Every local verb loads this file; a hundred more files are for whoever needs them.
  const { execa } = await import('execa')
  await execa(process.execPath, [programFile('bundle-workflows'), folder], {
    stdin: 'ignore',
  })
}

/** Temporal's development server, durable in a SQLite file; its page and its search are not needed. */
function ownTemporal(config: Config, environment: Record<string, string>): ProcessDescription {
  const { paths, ports, temporal } = config
  return {
    name: 'temporal',
    command: 'temporal',
    args: [
      'server',
      'start-dev',
      '--headless',
      '--log-level=warn',
      '--ip=127.0.0.1',
      `--port=${ports.temporal}`,
      `--http-port=${ports.temporalHttp}`,
      `--metrics-port=${ports.temporalFigures}`,
      `--db-filename=${join(paths.temporal, 'temporal.db')}`,
      '--sqlite-pragma=journal_mode=wal',
      '--sqlite-pragma=synchronous=full',
    ],
    environment,
    dependsOn: [],
    readiness: { kind: 'tcp', host: '127.0.0.1', port: ports.temporal },
    readyMs: 60_000,
    graceMs: 10_000,
    address: temporal.address,
    prepare: async () => void (await mkdir(paths.temporal, { recursive: true, mode: 0o700 })),
  }
}
