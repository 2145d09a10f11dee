import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import type { Entrance } from '../edge/entrance.ts'
import { pathsOf, type Paths } from './paths.ts'

/** The repository that this code lies in. */
const root = resolve(import.meta.dirname, '../..')

const port = z.coerce.number().int().min(1024).max(65_535)
/** Where people's browsers come in, 80 and 443 may be wanted. */
const anyPort = z.coerce.number().int().min(1).max(65_535)
/** A first port, with room for those that follow it. */
const firstPort = port.max(65_400)
const folder = z.string().min(1)
/** `host:port`, as gRPC clients write it. */
const address = z.string().regex(/^[A-Za-z0-9.[\]:-]+:\d{1,5}$/, 'wanted <host>:<port>')
const engine = z
  .string()
  .regex(/^unix:\/\/\/.+/, 'wanted unix:///<path>: Kiln speaks to a local engine only')
  .transform((text) => text.slice('unix://'.length))
const label = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, 'wanted a DNS label')
const folders = z
  .string()
  .transform((text) => text.split(':').filter((part) => part !== ''))
  .refine((parts) => parts.every((part) => isAbsolute(part)), 'wanted absolute paths, joined by :')

/**
 * Every setting of Kiln: what it means, its form, and what holds without it. `doctor` and the
 * documentation list this table. Ports without a value follow KILN_API_PORT, so that a second Kiln on
 * one machine needs only that one.
 */
export const settings = {
  KILN_HOME: { about: 'folder of all state', standard: '.kiln', form: folder },
  KILN_TEMPLATES: { about: 'folder of templates', standard: 'templates/ of Kiln', form: folder },
  KILN_REPOSITORIES: {
    about: 'folders whose repositories may be read as files, joined by :',
    standard: 'none',
    form: folders,
  },
  KILN_API_PORT: { about: 'port of the API', standard: '7400', form: firstPort },
  KILN_REGISTRY_PORT: { about: 'port of the registry', standard: 'API port + 1', form: port },
  KILN_BUILD_REGISTRY_PORT: {
    about: "port of the build engine's registry",
    standard: 'API port + 2',
    form: port,
  },
  KILN_TEMPORAL_PORT: {
    about: "port of Kiln's own Temporal server",
    standard: 'API port + 5',
    form: port,
  },
  KILN_TEMPORAL_ADDRESS: {
    about: 'a Temporal server to use instead of an own one',
    standard: 'an own one',
    form: address,
  },
  KILN_EDGE_PORT: {
    about: 'first of the 90 ports that environments are served on',
    standard: 'API port + 10',
    form: firstPort,
  },
  KILN_ENTRANCE_PORT: {
    about: 'port of the shared entrance, where environments with a route are reached',
    standard: 'API port + 6',
    form: anyPort,
  },
  KILN_ENTRANCE_ADDRESS: {
    about: 'IPv4 address that the entrance listens on; 0.0.0.0 for all',
    standard: '127.0.0.1',
    form: z.ipv4('wanted an IPv4 address'),
  },
  KILN_TLS_FOLDER: {
    about: 'folder of certificates for the entrance: <host>.pem, or <host>.crt and <host>.key',
    standard: 'none: plain HTTP only',
    form: folder,
  },
  KILN_TLS_PORT: {
    about: "port of the entrance's TLS",
    standard: 'API port + 7',
    form: anyPort,
  },
  KILN_TLS_REDIRECT: {
    about: 'whether plain HTTP at the entrance only leads to TLS: yes or no',
    standard: 'no',
    form: z.enum(['yes', 'no']),
  },
  KILN_TLS_HSTS: {
    about: 'seconds for which browsers shall come by TLS only (HSTS); 0: off',
    standard: '0',
    form: z.coerce.number().int().min(0).max(100_000_000),
  },
  DOCKER_HOST: {
    about: 'Docker Engine that runs instances, and builds where no other is named',
    standard: 'unix:///var/run/docker.sock',
    form: engine,
  },
  KILN_BUILD_DOCKER_HOST: {
    about: 'Docker Engine that builds',
    standard: 'DOCKER_HOST',
    form: engine,
  },
  KILN_HOST: { about: "this machine's name among the hosts", standard: 'local', form: label },
  KILN_ORIGIN: {
    about: "origin of the log and of Kiln's own statement types",
    standard: 'kiln.localhost',
    form: z.string().regex(/^[a-z0-9.-]+$/, 'wanted a host name'),
  },
  KILN_DEBIAN_MIRROR: {
    about: 'Debian mirror to lock from',
    standard: "the machine's own apt configuration",
    form: z.url({ protocol: /^https?$/ }),
  },
  KILN_DEBIAN_SNAPSHOT: {
    about: "a service like Debian's snapshot archive, for packages that no mirror has any more",
    standard: 'none',
    form: z.url({ protocol: /^https?$/ }),
  },
  KILN_GIT_HOSTS: {
    about: 'git servers with private addresses that may be read, joined by ,',
    standard: 'none',
    form: z.string().transform((text) => text.split(',').filter((part) => part !== '')),
  },
  KILN_LOG_LEVEL: {
    about: 'least severity that is logged',
    standard: 'info',
    form: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']),
  },
  KILN_HEALTH_PORT: {
    about: 'port of a worker’s health answer; set by the supervisor for each',
    standard: 'none',
    form: port,
  },
  KILN_CRASH_AT: {
    about: 'tests only: the points at which a process is killed, joined by ,',
    standard: 'none',
    form: z.string().min(1),
  },
  KILN_CRASH_RECORD: {
    about: 'tests only: folder where processes note the crash points that they pass',
    standard: 'none',
    form: folder,
  },
} as const

export type SettingName = keyof typeof settings
type Given = { [N in SettingName]?: z.output<(typeof settings)[N]['form']> }
type Environment = Readonly<Record<string, string | undefined>>

/** What the environment says, checked. All paths are absolute. Everything listens on 127.0.0.1. */
export type Config = {
  home: string
  paths: Paths
  templates: string
  repositories: readonly string[]
  ports: {
    api: number
    registry: number
    buildRegistry: number
    buildHealth: number
    hostHealth: number
    temporal: number
    entrance: number
    edgeFirst: number
    edgeLast: number
  }
  entrance: Entrance
  /** Where the certificates of the entrance lie; undefined: no TLS. */
  tlsFolder: string | undefined
  /** Paths of the engines' sockets; the same where one engine does both. */
  docker: { runtime: string; build: string }
  /** `own`: the supervisor runs a dev server at the address. */
  temporal: { kind: 'own' | 'given'; address: string }
  hostName: string
  origin: string
  debianMirror: string | undefined
  debianSnapshot: string | undefined
  gitHosts: readonly string[]
  logLevel: z.output<(typeof settings)['KILN_LOG_LEVEL']['form']>
  healthPort: number | undefined
  crashAt: string | undefined
  crashRecord: string | undefined
}

/** Reads the settings. An empty value counts as none. Throws `invalid_input` that names every bad one. */
export function loadConfig(environment: Environment, cwd: string): Config {
  const given = readSettings(environment)
  const home = resolve(cwd, given.KILN_HOME ?? '.kiln')
  const runtime = given.DOCKER_HOST ?? '/var/run/docker.sock'
  const ports = portsOf(given)
  return {
    home,
    paths: pathsOf(home),
    templates: resolve(cwd, given.KILN_TEMPLATES ?? resolve(root, 'templates')),
    repositories: given.KILN_REPOSITORIES ?? [],
    ports,
    entrance: entranceOf(given, home),
    tlsFolder:
      given.KILN_TLS_FOLDER === undefined ? undefined : resolve(cwd, given.KILN_TLS_FOLDER),
    docker: { runtime, build: given.KILN_BUILD_DOCKER_HOST ?? runtime },
    temporal:
      given.KILN_TEMPORAL_ADDRESS === undefined
        ? { kind: 'own', address: `127.0.0.1:${ports.temporal}` }
        : { kind: 'given', address: given.KILN_TEMPORAL_ADDRESS },
    hostName: given.KILN_HOST ?? 'local',
    origin: given.KILN_ORIGIN ?? 'kiln.localhost',
    debianMirror: given.KILN_DEBIAN_MIRROR,
    debianSnapshot: given.KILN_DEBIAN_SNAPSHOT,
    gitHosts: given.KILN_GIT_HOSTS ?? [],
    logLevel: given.KILN_LOG_LEVEL ?? 'info',
    healthPort: given.KILN_HEALTH_PORT,
    crashAt: given.KILN_CRASH_AT,
    crashRecord:
      given.KILN_CRASH_RECORD === undefined ? undefined : resolve(cwd, given.KILN_CRASH_RECORD),
  }
}

function portsOf(given: Given): Config['ports'] {
  const api = given.KILN_API_PORT ?? 7400
  const edgeFirst = given.KILN_EDGE_PORT ?? api + 10
  return {
    api,
    registry: given.KILN_REGISTRY_PORT ?? api + 1,
    buildRegistry: given.KILN_BUILD_REGISTRY_PORT ?? api + 2,
    buildHealth: api + 3,
    hostHealth: api + 4,
    temporal: given.KILN_TEMPORAL_PORT ?? api + 5,
    entrance: given.KILN_ENTRANCE_PORT ?? api + 6,
    edgeFirst,
    edgeLast: edgeFirst + 89,
  }
}

function entranceOf(given: Given, home: string): Entrance {
  const api = given.KILN_API_PORT ?? 7400
  return {
    address: given.KILN_ENTRANCE_ADDRESS ?? '127.0.0.1',
    port: given.KILN_ENTRANCE_PORT ?? api + 6,
    tls:
      given.KILN_TLS_FOLDER === undefined
        ? null
        : {
            port: given.KILN_TLS_PORT ?? api + 7,
            folder: pathsOf(home).tls,
            redirect: given.KILN_TLS_REDIRECT === 'yes',
            hstsSeconds: given.KILN_TLS_HSTS || null,
          },
  }
}

function readSettings(environment: Environment): Given {
  const read: Record<string, unknown> = {}
  const bad: string[] = []
  for (const [name, { form }] of Object.entries(settings)) {
    const text = environment[name]
    if (text === undefined || text === '') continue
    const result = form.safeParse(text)
    if (result.success) read[name] = result.data
    else bad.push(`${name}=${text.slice(0, 100)}: ${result.error.issues[0]?.message}`)
  }
  if (bad.length === 0) return read
  throw new KilnError('invalid_input', bad.join('; '), {
    place: bad.map((line) => line.slice(0, line.indexOf('='))).join(', '),
    fix: 'correct or unset it; kiln doctor lists the settings',
  })
}
