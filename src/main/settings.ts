import { z } from 'zod'
import {
  port,
  anyPort,
  firstPort,
  folder,
  address,
  engine,
  s3Address,
  postgres,
  days,
  size,
  label,
  folders,
  openAddress,
} from './setting-forms.ts'

/**
 * Every setting of Kiln: what it means, its form, and what holds without it. `doctor` and the
 * documentation list this table. Ports without a value follow KILN_API_PORT, so that a second Kiln on
 * one machine needs only that one.
 */
export const settings = {
  KILN_HOME: { about: 'folder of all state', standard: '.kiln', form: folder },
  KILN_STORE: {
    about: 'a bucket as object store, s3://<bucket>/<prefix>',
    standard: 'none: the folder store/ in the home',
    form: s3Address,
  },
  KILN_S3_ENDPOINT: {
    about: 'address of an S3-compatible service',
    standard: "AWS's own",
    form: z.url({ protocol: /^https?$/ }),
  },
  KILN_S3_REGION: {
    about: 'region of the bucket',
    standard: 'us-east-1',
    form: z.string().regex(/^[a-z0-9-]{1,40}$/, 'wanted a region'),
  },
  KILN_S3_CREDENTIALS: {
    about: 'file with the access key of the bucket, 0600: {"accessKeyId": …, "secretAccessKey": …}',
    standard: 'none; needed with KILN_STORE=s3://…',
    form: folder,
  },
  KILN_INDEX: {
    about: 'a PostgreSQL database for the index, postgres://<user>@<host>:<port>/<database>',
    standard: 'none: PGlite, the folder index/ in the home',
    form: postgres,
  },
  KILN_INDEX_PASSWORD: {
    about: 'file with the password of that user, 0600',
    standard: 'none',
    form: folder,
  },
  KILN_ROOT: {
    about: "fingerprint of the root that must have made the log's roles, sha256:<64 hex>",
    standard: 'the one that the home saw first, in its file pinned-root',
    form: z.string().regex(/^sha256:[0-9a-f]{64}$/, 'wanted sha256:<64 hex>'),
  },
  KILN_SIGNING_PASSPHRASE_FILE: {
    about:
      'file with the passphrase of the signing keys, one line, closed to others; the signer reads it',
    standard: 'none: the keys are not encrypted',
    form: folder,
  },
  KILN_KMS_ENDPOINT: {
    about:
      "address of AWS's KMS, where signing keys are in it; its credentials are those of AWS's SDK",
    standard: "AWS's own in the key's region",
    form: z.url({ protocol: /^https?$/ }),
  },
  KILN_TEMPLATES: { about: 'folder of templates', standard: 'templates/ of Kiln', form: folder },
  KILN_REPOSITORIES: {
    about: 'folders whose repositories may be read as files, joined by :',
    standard: 'none',
    form: folders,
  },
  KILN_API_PORT: { about: 'port of the API', standard: '7400', form: firstPort },
  KILN_REGISTRY_PORT: { about: 'port of the registry', standard: 'API port + 1', form: port },
  KILN_REGISTRY_HOST: {
    about:
      'host name under which other hosts pull, over TLS with its certificate in KILN_TLS_FOLDER',
    standard: 'none: this machine alone pulls',
    form: z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'wanted a host name'),
  },
  KILN_REGISTRY_OPEN: {
    about: 'IPv4 address and port that the registry listens on for other hosts',
    standard: '0.0.0.0:7443 with KILN_REGISTRY_HOST',
    form: openAddress,
  },
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
  KILN_PUBLIC_ADDRESS: {
    about: "where people reach Kiln's API; commit statuses link to it",
    standard: 'none, and no link',
    form: z
      .url({ protocol: /^https?$/ })
      .regex(
        /^[^?#@]*[^/?#@]$/,
        'wanted an address without a user, a query and a slash at its end',
      ),
  },
  KILN_WATCH_SECONDS: {
    about: 'how often a watched repository is looked at without a webhook, in seconds',
    standard: '2',
    form: z.coerce.number().int().min(1).max(86_400),
  },
  KILN_LOG_LEVEL: {
    about: 'least severity that is logged',
    standard: 'info',
    form: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']),
  },
  KILN_FRESH_SECONDS: {
    about:
      'how old the newest word of the server may be, in seconds, with which a host starts anything',
    standard: '900',
    form: z.coerce.number().int().min(4).max(86_400),
  },
  KILN_LOG_KEYS: {
    about: 'folder of public keys (PEM, P-256) that may write into the log, as Sigstore clients do',
    standard: 'none: nobody but Kiln',
    form: folder,
  },
  KILN_SERVER: {
    about: 'where the host asks the server how far the log is',
    standard: 'http://127.0.0.1:<API port>',
    form: z.url({ protocol: /^https?$/ }),
  },
  KILN_MIN_FREE: {
    about: 'free space, on the disks of the home and of the engine, with which work begins',
    standard: '2Gi',
    form: size,
  },
  KILN_KEEP_GOOD: {
    about: "how many of each environment's last good images stay on the host",
    standard: '5',
    form: z.coerce.number().int().min(1).max(1000),
  },
  KILN_KEEP_RETURNS: {
    about: "how many of each environment's last good artifacts kiln gc keeps to return to",
    standard: '10',
    form: z.coerce.number().int().min(1).max(100_000),
  },
  KILN_KEEP_ARTIFACTS: {
    about: 'days for which kiln gc keeps whatever was sealed, written or used',
    standard: '30',
    form: days,
  },
  KILN_KEEP_LOGS: {
    about: 'days that logs of builds and instances are kept',
    standard: '30',
    form: days,
  },
  KILN_LOGS_MAX: {
    about: 'how large the logs of builds, and those of instances, may become',
    standard: '1Gi',
    form: size,
  },
  KILN_CACHE_MAX: {
    about: 'how large the caches of builds, and the mirrors of repositories, may become',
    standard: '5Gi',
    form: size,
  },
  KILN_KEEP_HISTORIES: {
    about: "days that Kiln's own Temporal keeps what has ended",
    standard: '7',
    form: days,
  },
  KILN_SECRETS: {
    about: 'folder of the secrets that kiln.yaml calls file:<name>, mode 0700',
    standard: 'secrets/ of the home',
    form: folder,
  },
  KILN_SECRETS_MEMORY: {
    about: 'folder in memory (tmpfs) where instances find their secrets',
    standard: '/run, or /dev/shm where that is on a disk',
    form: folder,
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
