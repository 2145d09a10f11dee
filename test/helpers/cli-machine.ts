import type { LocalVerbs } from '../../src/cli/local-port.ts'
import { digestOfHex } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'

const lock = digestOfHex('99'.repeat(32))
const server = {
  name: 'server',
  state: 'ready',
  pid: 7,
  restarts: 0,
  address: 'http://127.0.0.1:1',
  log: 'logs/server.log',
} as const
const summary = { name: 'node-service', lock, inputs: 1 }

const known = {
  address: 'https://git.example.org/acme/shop.git',
  access: 'token',
  files: ['/etc/kiln/token'],
  forge: 'gitea',
  webhook: true,
  status: false,
} as const

const refused = {
  since: '2026-11-01T03:00:00.000Z',
  total: 21,
  newest: [
    {
      time: '2026-11-28T03:00:00.000Z',
      rule: 'into-instance',
      message: 'kiln.hello.prod.3.1 is an instance of hello/prod: no exec\u001b[2J',
      container: 'kiln.hello.prod.3.1',
      environment: 'hello/prod',
      method: 'POST',
      path: '/v1.41/containers/c0ffee/exec',
      user: '',
      client: 'Docker-Client/20.10.24 (linux)',
    },
  ],
} as const

function usable(broken: boolean) {
  if (!broken) return known
  throw new KilnError('invalid_yaml', 'repositories.yaml: unknown key tokn')
}

/** A machine in memory behind the local verbs; on a broken one every check fails. */
export function memoryMachine(broken: boolean): LocalVerbs {
  const status = {
    home: '/srv/.kiln',
    running: !broken,
    processes: broken ? [] : [server],
    hostAlarm: broken
      ? { host: 'local', since: '2026-11-28T03:00:00.000Z', message: 'the host starts nothing' }
      : null,
    guard: broken ? 'unknown' : 'in place',
    refusals: broken ? refused : null,
    lowDisk: broken
      ? {
          message: '1 GiB are free at /srv/.kiln, 1 GiB less than the 2 GiB that work begins with',
          place: '/srv/.kiln',
          fix: 'free 1 GiB: kiln prune',
        }
      : null,
  } as const
  return {
    up: async (report) => {
      report('starting server')
      return { ...status, already: false }
    },
    down: async () => ({ stopped: ['server'] }),
    status: async () => status,
    doctor: async () => [
      {
        name: 'docker',
        state: broken ? 'missing' : 'ok',
        found: 'none',
        wanted: '20.10',
        fix: 'install it',
      },
    ],
    guard: async (socket = '/run/docker/plugins/kiln.sock') => {
      const report = { socket, engine: '/var/run/docker.sock', host: 'local' }
      if (!broken) return { ...report, ended: Promise.resolve() }
      throw new KilnError('already_running', 'another guard answers here', { place: socket })
    },
    templates: async () => [summary],
    template: async () => ({
      ...summary,
      entries: [{ name: 'node', version: '24', size: 3, digest: lock }],
    }),
    lockTemplate: async (name) => ({ name, lock, changes: ['node 24 is new'] }),
    checkTemplate: async (name) => {
      if (!broken) return summary
      throw new KilnError('lock_mismatch', 'node differs', {
        place: `${name}/template.lock`,
        fix: `kiln template lock ${name}`,
      })
    },
    verify: async (what) => ({
      subject: what,
      checks: [{ name: 'signature', passed: !broken, detail: 'by promote' }],
      command: 'cosign verify-attestation --key promote.pub',
    }),
    evidence: async (what, file) => ({
      ...usable(broken),
      file: `/w/${file ?? 'hello-prod-1.evidence.tar'}`,
      bytes: 30_000,
      subject: what,
      digest: `sha256:${'a'.repeat(64)}`,
      statements: 12,
      entries: 40,
      root: `sha256:${'b'.repeat(64)}`,
    }),
    judge: async (file, root) => ({
      subject: file,
      checks: [{ name: 'root', passed: root !== undefined && !broken, detail: String(root) }],
      command: null,
    }),
    monitor: async ({ address = 'http://127.0.0.1:1' }) => {
      const about = { address, origin: 'kiln.test', state: '/srv/monitor.json', pinned: true }
      return broken
        ? {
            ...about,
            kind: 'changed',
            change: 'shorter',
            message: 'it has 3 entries, and had 7: 4 are gone',
            seen: 'kiln.test\n7\nAAAA\n',
            note: 'kiln.test\n3\nBBBB\n',
          }
        : { ...about, kind: 'intact', size: 7, root: 'AAAA', fresh: 2, seenSize: 5 }
    },
    repositories: async () => [usable(broken)],
    addRepository: async ({ address }) => ({
      repository: { ...usable(broken), address },
      replaced: false,
    }),
    removeRepository: async () => usable(broken),
    checkRepository: async (address) => ({
      ...usable(broken),
      address,
      branches: [{ branch: 'main', commit: '0'.repeat(40) }],
    }),
    fsck: async () => ({
      entries: 7,
      foreign: 0,
      root: 'AAAA',
      problems: broken ? [{ place: 'leaf 3', message: 'no bundle' }] : [],
    }),
    encryptKeys: async () => ({ encrypted: ['promote.pem'] }),
    prune: async (dryRun) => ({
      dryRun,
      removed: [{ kind: 'image', name: `127.0.0.1:7401/hello@${lock}`, bytes: 5_000_000 }],
      free: 9_000_000_000,
      wanted: 2 * 1024 ** 3,
    }),
    gc: async (apply) => ({
      applied: apply,
      artifacts: [
        { digest: lock, app: 'hello', sealedAt: '2026-01-01T00:00:00Z', bytes: 7_000_000 },
      ],
      objects: 12,
      bytes: 9_000_000,
      spared: 0,
      kept: {
        artifacts: [{ digest: lock, app: 'hello', reason: 'active', environment: 'hello/prod' }],
        objects: 40,
        bytes: 90_000_000,
      },
      since: '2026-02-01T00:00:00.000Z',
      faults: broken ? [`${lock} is kept, and its manifest is missing`] : [],
    }),
    backup: async (folder, passphrase) => ({
      folder,
      entries: 7,
      objects: 9,
      bytes: 4_000_000,
      copied: 2,
      copiedBytes: 1_000_000,
      keys: passphrase.kind === 'none' ? 'left out' : 'encrypted',
    }),
    restore: async (_folder, passphrase) => ({
      home: '/srv/.kiln',
      store: '/srv/.kiln/store',
      entries: 7,
      madeAt: '2026-01-01T00:00:00.000Z',
      keys: passphrase.kind === 'none' ? 'left out' : 'restored',
      lost: null,
      environments: [{ environment: 'hello/prod', digest: lock, instances: 2 }],
    }),
    reindex: async () => ({ entries: 7, digest: lock }),
  }
}
