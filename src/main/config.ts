import { isAbsolute, join, resolve } from 'node:path'
import type { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import type { Entrance } from '../edge/entrance.ts'
import type { IndexPlace } from '../ledger/index-place.ts'
import type { StorePlace } from './object-store.ts'
import { pathsOf, type Paths } from './paths.ts'
import { settings } from './settings.ts'

/** The repository that this code lies in. */
const root = resolve(import.meta.dirname, '../..')

export type SettingName = keyof typeof settings
type Given = { [N in SettingName]?: z.output<(typeof settings)[N]['form']> }
type Environment = Readonly<Record<string, string | undefined>>

const gibibyte = 1024 ** 3

/** How much is kept, and how long. */
export type Keep = {
  /** Of each environment, the last good images. */
  good: number
  /** Of each environment, the last good artifacts that it may return to. */
  returns: number
  /** Whatever was sealed, written or used since. */
  artifactDays: number
  logDays: number
  logBytes: number
  cacheDays: number
  cacheBytes: number
  historyDays: number
}

/** What the environment says, checked. All paths are absolute. Everything listens on 127.0.0.1. */
export type Config = {
  home: string
  paths: Paths
  /** The object store: a folder of the home unless another place is named. */
  store: StorePlace
  index: IndexPlace
  /** Where the person who runs Kiln keeps state of their own (XDG); the home, for who has no folder. */
  stateFolder: string
  templates: string
  repositories: readonly string[]
  ports: {
    api: number
    registry: number
    buildRegistry: number
    buildHealth: number
    hostHealth: number
    temporal: number
    /** Of Temporal's own HTTP API and figures, which nobody here asks: left out, it takes ports by chance. */
    temporalHttp: number
    temporalFigures: number
    entrance: number
    edgeFirst: number
    edgeLast: number
  }
  entrance: Entrance
  /** Where the certificates lie, of the entrance and of the open registry; undefined: no TLS. */
  tlsFolder: string | undefined
  /** Where other hosts pull, and under which name; null: nowhere. */
  registryOpen: { name: string; host: string; port: number } | null
  /** Paths of the engines' sockets; the same where one engine does both. */
  docker: { runtime: string; build: string }
  /** `own`: the supervisor runs a dev server at the address. */
  temporal: { kind: 'own' | 'given'; address: string }
  hostName: string
  origin: string
  /** Fingerprint of the root that a person named. */
  root: string | undefined
  /** The file with the passphrase of the signing keys. */
  signingPassphraseFile: string | undefined
  /** Of AWS's KMS, where signing keys are in it. */
  kmsEndpoint: string | undefined
  debianMirror: string | undefined
  debianSnapshot: string | undefined
  gitHosts: readonly string[]
  /** Free bytes with which work begins. */
  minFree: number
  keep: Keep
  /** How old what the server says of the log may be, and where it says so. */
  fresh: { limitMs: number; server: string }
  /** Folder of keys that may write into the log; undefined: nobody's. */
  logKeys: string | undefined
  watchEveryMs: number
  publicAddress: string | undefined
  /** Where the host reads secrets, and where it gives them to instances. */
  secrets: { folder: string; memory: string | undefined }
  logLevel: z.output<(typeof settings)['KILN_LOG_LEVEL']['form']>
  healthPort: number | undefined
  crashAt: string | undefined
  crashRecord: string | undefined
}

/** Reads the settings. An empty value counts as none. Throws `invalid_input` that names every bad one. */
export function loadConfig(environment: Environment, cwd: string): Config {
  const given = readSettings(environment)
  const home = resolve(cwd, given.KILN_HOME ?? '.kiln')
  const paths = pathsOf(home)
  const runtime = given.DOCKER_HOST ?? '/var/run/docker.sock'
  const ports = portsOf(given)
  return {
    home,
    paths,
    store: storeOf(given, { paths, cwd }),
    index: indexOf(given, { paths, cwd }),
    stateFolder: stateFolderOf(environment) ?? home,
    templates: resolve(cwd, given.KILN_TEMPLATES ?? resolve(root, 'templates')),
    repositories: given.KILN_REPOSITORIES ?? [],
    ports,
    entrance: entranceOf(given, home),
    tlsFolder: folderAt(cwd, given.KILN_TLS_FOLDER),
    registryOpen: registryOpenOf(given),
    docker: { runtime, build: given.KILN_BUILD_DOCKER_HOST ?? runtime },
    temporal:
      given.KILN_TEMPORAL_ADDRESS === undefined
        ? { kind: 'own', address: `127.0.0.1:${ports.temporal}` }
        : { kind: 'given', address: given.KILN_TEMPORAL_ADDRESS },
    hostName: given.KILN_HOST ?? 'local',
    origin: given.KILN_ORIGIN ?? 'kiln.localhost',
    root: given.KILN_ROOT,
    signingPassphraseFile: folderAt(cwd, given.KILN_SIGNING_PASSPHRASE_FILE),
    kmsEndpoint: given.KILN_KMS_ENDPOINT,
    debianMirror: given.KILN_DEBIAN_MIRROR,
    debianSnapshot: given.KILN_DEBIAN_SNAPSHOT,
    ...forgesOf(given),
    minFree: given.KILN_MIN_FREE ?? 2 * gibibyte,
    keep: keepOf(given),
    fresh: freshOf(given, ports),
    logKeys: folderAt(cwd, given.KILN_LOG_KEYS),
    secrets: secretsOf(given, cwd, home),
    logLevel: given.KILN_LOG_LEVEL ?? 'info',
    healthPort: given.KILN_HEALTH_PORT,
    crashAt: given.KILN_CRASH_AT,
    crashRecord: folderAt(cwd, given.KILN_CRASH_RECORD),
  }
}

/** https://specifications.freedesktop.org/basedir-spec: a path that is not absolute counts for nothing. */
function stateFolderOf({ XDG_STATE_HOME: state, HOME: home }: Environment): string | undefined {
  if (state !== undefined && isAbsolute(state)) return join(state, 'kiln')
  return home !== undefined && isAbsolute(home) ? join(home, '.local/state/kiln') : undefined
}

function freshOf(given: Given, { api }: Config['ports']): Config['fresh'] {
  return {
    limitMs: (given.KILN_FRESH_SECONDS ?? 900) * 1000,
    server: given.KILN_SERVER ?? `http://127.0.0.1:${api}`,
  }
}

function folderAt(cwd: string, path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(cwd, path)
}

function keepOf(given: Given): Keep {
  return {
    good: given.KILN_KEEP_GOOD ?? 5,
    returns: given.KILN_KEEP_RETURNS ?? 10,
    artifactDays: given.KILN_KEEP_ARTIFACTS ?? 30,
    logDays: given.KILN_KEEP_LOGS ?? 30,
    logBytes: given.KILN_LOGS_MAX ?? gibibyte,
    cacheDays: 30,
    cacheBytes: given.KILN_CACHE_MAX ?? 5 * gibibyte,
    historyDays: given.KILN_KEEP_HISTORIES ?? 7,
  }
}

function secretsOf(given: Given, cwd: string, home: string): Config['secrets'] {
  return {
    folder: resolve(cwd, given.KILN_SECRETS ?? pathsOf(home).secrets),
    memory: folderAt(cwd, given.KILN_SECRETS_MEMORY),
  }
}

/** Repositories and what hosts them. */
function forgesOf(given: Given): Pick<Config, 'gitHosts' | 'watchEveryMs' | 'publicAddress'> {
  return {
    gitHosts: given.KILN_GIT_HOSTS ?? [],
    watchEveryMs: (given.KILN_WATCH_SECONDS ?? 2) * 1000,
    publicAddress: given.KILN_PUBLIC_ADDRESS,
  }
}

function storeOf(given: Given, { paths, cwd }: { paths: Paths; cwd: string }): StorePlace {
  if (given.KILN_STORE === undefined) return { kind: 'folder', root: paths.store }
  if (given.KILN_S3_CREDENTIALS === undefined) {
    throw new KilnError('invalid_input', `KILN_STORE=${given.KILN_STORE} needs credentials`, {
      place: 'KILN_S3_CREDENTIALS',
      fix: 'set it to a file that holds {"accessKeyId": "…", "secretAccessKey": "…"}',
    })
  }
  const [bucket = '', ...prefix] = given.KILN_STORE.slice('s3://'.length).split('/')
  return {
    kind: 's3',
    bucket,
    prefix: prefix.length === 0 ? undefined : prefix.join('/'),
    endpoint: given.KILN_S3_ENDPOINT,
    region: given.KILN_S3_REGION ?? 'us-east-1',
    credentialsFile: resolve(cwd, given.KILN_S3_CREDENTIALS),
    spool: paths.spool,
  }
}

/** Without a name there is no certificate, and without one nothing is open. */
function registryOpenOf(given: Given): Config['registryOpen'] {
  const { KILN_REGISTRY_HOST: name, KILN_REGISTRY_OPEN: place } = given
  if (name === undefined && place === undefined) return null
  if (name === undefined) {
    throw new KilnError('invalid_input', 'an open registry needs the name that others ask for', {
      place: 'KILN_REGISTRY_HOST',
      fix: 'set it to the host name of its certificate, <name>.pem in KILN_TLS_FOLDER',
    })
  }
  if (given.KILN_TLS_FOLDER === undefined) {
    throw new KilnError('invalid_input', 'the registry opens to other hosts over TLS alone', {
      place: 'KILN_TLS_FOLDER',
      fix: `set it to a folder that holds ${name}.pem (certificate, chain, key)`,
    })
  }
  return { name, ...(place ?? { host: '0.0.0.0', port: 7443 }) }
}

function indexOf(given: Given, { paths, cwd }: { paths: Paths; cwd: string }): IndexPlace {
  if (given.KILN_INDEX === undefined) return { kind: 'pglite', dir: paths.index }
  const passwordFile = folderAt(cwd, given.KILN_INDEX_PASSWORD)
  return { kind: 'postgres', address: given.KILN_INDEX, passwordFile }
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
    temporalHttp: api + 8,
    temporalFigures: api + 9,
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
    else bad.push(`${name}=${shown(text)}: ${result.error.issues[0]?.message}`)
  }
  if (bad.length === 0) return read
  throw new KilnError('invalid_input', bad.join('; '), {
    place: bad.map((line) => line.slice(0, line.indexOf('='))).join(', '),
    fix: 'correct or unset it; kiln doctor lists the settings',
  })
}

/** What somebody took for a user and a password of an address is not told again. */
function shown(text: string): string {
  return text.replace(/:\/\/.*@/s, '://…@').slice(0, 100)
}
