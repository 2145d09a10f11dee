import { pino } from 'pino'
import type {
  Scan,
  Artifact,
  Asked,
  Candidate,
  EnvironmentDetail,
  HistoryEntry,
  PageRequest,
  RollbackTarget,
  Watch,
} from '../../src/api/ports.ts'
import { createApi, type ApiDeps } from '../../src/api/server.ts'
import { digestOfHex, type Digest } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import { hasEnded, type Operation } from '../../src/domain/operation.ts'

export const secret = 'a-token-of-a-test-0123456789abcdef'

/** `sha256:` and one pair of characters, 32 times. */
export function testDigest(pair: string): Digest {
  return digestOfHex(pair.repeat(32))
}

export function testArtifact(pair: string, more: Partial<Artifact> = {}): Artifact {
  return {
    digest: testDigest(pair),
    app: 'hello',
    build: `build.${pair.repeat(8)}`,
    repository: '/srv/hello',
    commit: `${pair}c0ffee`.padEnd(40, '0'),
    subject: `subject of ${pair}`,
    committedAt: '2026-11-20T10:00:00Z',
    sealedAt: '2026-11-20T10:05:00Z',
    template: { name: 'node-service', lock: testDigest('99') },
    denied: null,
    environments: [],
    ...more,
  }
}

export function testEnvironment(
  name: EnvironmentDetail['name'],
  more: Partial<EnvironmentDetail> = {},
): EnvironmentDetail {
  const [app = '', environment = ''] = name.split('/')
  return {
    name,
    app,
    environment,
    previous: null,
    last: false,
    automatic: false,
    alarm: null,
    epoch: 3,
    active: {
      sequence: 2,
      digest: testDigest('b2'),
      commit: 'b2c0ffee'.padEnd(40, '0'),
      subject: 'second commit',
      since: '2026-11-20T11:00:00Z',
      denied: null,
    },
    instances: { wanted: 2, min: 1, max: 4 },
    hold: null,
    open: null,
    outcome: null,
    address: 'http://127.0.0.1:8080',
    routes: ['http://shop.example.test:7406/api'],
    running: [{ name: 'hello-prod-1', id: 'f00' }],
    rollbackTo: { sequence: 1, digest: testDigest('a1') },
    ...more,
  }
}

export function testTarget(pair: string, sequence: number): RollbackTarget {
  return {
    sequence,
    digest: testDigest(pair),
    commit: `${pair}c0ffee`.padEnd(40, '0'),
    subject: `subject of ${pair}`,
    activatedAt: '2026-11-20T10:30:00Z',
    requestedBy: 'token:local',
  }
}

type Started = { verb: string; asked: Asked; input: unknown }

/** Everything behind the API, in memory: a second adapter of its ports, with a switch for each fault. */
export function memoryPorts() {
  const logs = new Map<string, { id: number; operation: Operation }[]>()
  const watches = new Map<string, Watch>()
  const waiting = new Set<() => void>()
  const state = {
    started: [] as Started[],
    environments: [
      testEnvironment('hello/dev'),
      testEnvironment('hello/test', { previous: 'hello/dev' }),
      testEnvironment('hello/prod', { previous: 'hello/test', last: true }),
    ],
    artifacts: [testArtifact('a1'), testArtifact('b2')],
    targets: [testTarget('a1', 1), testTarget('00', 0)],
    candidates: [] as Candidate[],
    history: [] as HistoryEntry[],
    buildLog: 'one\ntwo\n',
    /** What a new operation goes through by itself, one snapshot after another. */
    script: [{ state: 'running' }, { state: 'succeeded' }] as Partial<Operation>[],
    /** Thrown by the next call of any verb. */
    failure: undefined as Error | undefined,
    scan: { findings: [], complete: true } as Scan,
  }

  function progress(id: string, change: Partial<Operation>): void {
    const log = logs.get(id)
    const last = log?.at(-1)
    if (log === undefined || last === undefined) throw new Error(`no operation ${id}`)
    const operation = { ...last.operation, ...change }
    if (hasEnded(operation)) operation.endedAt = '2026-11-20T12:00:09Z'
    log.push({ id: last.id + 1, operation })
    for (const wake of waiting) wake()
  }

  function begin(verb: string, asked: Asked, input: unknown): Operation {
    if (state.failure !== undefined) throw state.failure
    const kinds: Record<string, Operation['kind']> = {
      promote: 'promotion',
      rehearse: 'rehearsal',
      revoke: 'revocation',
      rotate: 'rotation',
      startBuild: 'build',
      startRebuild: 'rebuild',
    }
    const subject = (input as { environment?: string }).environment ?? 'hello'
    const id = `${kinds[verb] ?? verb}.${asked.id}`
    const known = logs.get(id)?.at(-1)
    if (known !== undefined) return known.operation
    state.started.push({ verb, asked, input })
    const operation: Operation = {
      id,
      kind: kinds[verb] ?? (verb as Operation['kind']),
      state: 'queued',
      subject,
      requestedBy: asked.principal.name,
      requestedAt: '2026-11-20T12:00:00Z',
      endedAt: null,
      steps: [],
      result: {},
      failure: null,
    }
    logs.set(id, [{ id: 1, operation }])
    for (const change of state.script) progress(id, change)
    return operation
  }

  async function* watch(id: string, after: number, signal: AbortSignal) {
    let last = after
    while (!signal.aborted) {
      const log = logs.get(id) ?? []
      for (const snapshot of log.filter((one) => one.id > last)) {
        last = snapshot.id
        yield snapshot
      }
      const newest = log.at(-1)
      if (newest !== undefined && newest.id <= last && hasEnded(newest.operation)) return
      await new Promise<void>((resolve) => {
        const wake = () => {
          waiting.delete(wake)
          resolve()
        }
        waiting.add(wake)
        signal.addEventListener('abort', wake, { once: true })
      })
    }
  }

  const current = (id: string) => logs.get(id)?.at(-1)?.operation

  const ports: Pick<
    ApiDeps,
    'operations' | 'watches' | 'webhooks' | 'views' | 'logs' | 'ledger' | 'signingKeys' | 'requests'
  > = {
    operations: {
      startBuild: async (asked, input) => begin('startBuild', asked, input),
      startRebuild: async (asked, input) => begin('startRebuild', asked, input),
      revoke: async (asked, input) => begin('revoke', asked, input),
      promote: async (asked, input) => begin('promote', asked, input),
      rollback: async (asked, input) => begin('rollback', asked, input),
      scale: async (asked, input) => begin('scale', asked, input),
      rotate: async (asked, input) => begin('rotate', asked, input),
      release: async (asked, input) => begin('release', asked, input),
      scan: async () => state.scan,
      breakGlass: async (asked, input) => {
        state.started.push({ verb: 'breakGlass', asked, input })
        const until = new Date(Date.now() + input.seconds * 1000).toISOString()
        return { environment: 'hello/prod', instance: input.instance, id: 'c0ffee', until }
      },
      rehearse: async (asked, input) => begin('rehearse', asked, { environment: input }),
      cancel: async (asked, id) => {
        const operation = current(id)
        if (operation === undefined) return undefined
        state.started.push({ verb: 'cancel', asked, input: id })
        if (!hasEnded(operation)) progress(id, { state: 'cancelled' })
        return current(id)
      },
      get: async (id) => current(id),
      list: async (page) =>
        paged(
          [...logs.keys()].map((id) => current(id)).filter((one) => one !== undefined),
          page,
        ),
      watch,
    },
    webhooks: {
      receive: async () => ({ result: 'ignored', message: 'in memory', delivery: 'none' }),
      list: async () => [],
    },
    watches: {
      start: async (asked, { repository, branches }) => {
        const made: Watch = {
          id: `watch.${watches.size + 1}`,
          repository,
          branches,
          requestedBy: asked.principal.name,
          since: '2026-11-20T12:00:00Z',
          lastCommit: null,
          failure: null,
        }
        watches.set(made.id, made)
        return made
      },
      stop: async (_asked, id) => {
        const made = watches.get(id)
        watches.delete(id)
        return made
      },
      list: async () => [...watches.values()],
    },
    views: {
      environments: async () => state.environments,
      environment: async (name) => state.environments.find((one) => one.name === name),
      history: async (_name, page) => paged(state.history, page),
      rollbackTargets: async () => state.targets,
      candidates: async () => state.candidates,
      secrets: async () => [
        { name: 'DB_PASSWORD', reference: 'file:db', resolves: true, problem: null, fix: null },
        {
          name: 'TOKEN',
          reference: 'env:TOKEN',
          resolves: false,
          problem: 'not there',
          fix: null,
        },
      ],
      artifacts: async (_filter, page) => paged(state.artifacts, page),
      artifactsBeginningWith: async (hex) =>
        state.artifacts.filter(({ digest }) => digest.startsWith(`sha256:${hex}`)),
      attached: async (digest, what) => JSON.stringify({ digest, what }),
      verification: async (name, sequence = 2) => {
        if (sequence !== 2) {
          const fix = `kiln history ${name}`
          throw new KilnError('not_found', `${name} has no key ${sequence}`, { fix })
        }
        const checks = [{ name: 'signature', passed: false, detail: 'found another, wanted ours' }]
        return { subject: `${name}@2`, passed: false, checks }
      },
      keyBundle: async (name, sequence) =>
        sequence === 2 ? JSON.stringify({ name, sequence }) : undefined,
      status: async () => ({
        version: '0.1.0',
        startedAt: '2026-11-20T09:00:00Z',
        processes: [{ name: 'server', state: 'ready', detail: null }],
        versions: { node: '24' },
        ledger: { origin: 'kiln.test', size: 7 },
        alarms: [],
        entrance: { address: 'http://127.0.0.1:7406', tls: null, certificates: [] },
      }),
    },
    logs: {
      instances: async () => 'hello-prod-1 | a line\n',
      build: async (id) => (id === 'build.none' ? undefined : state.buildLog),
    },
    ledger: {
      checkpoint: async () => 'kiln.test\n7\nAAAA\n',
      tile: async (path) => (path === '0/000' ? Buffer.from([0, 255, 1]) : undefined),
      log: async () => ({
        logIndex: '6',
        logId: { keyId: 'AAAA' },
        kindVersion: { kind: 'hashedrekord', version: '0.0.2' },
        inclusionProof: {
          logIndex: '6',
          rootHash: 'AAAA',
          treeSize: '7',
          hashes: ['AAAA'],
          checkpoint: { envelope: 'kiln.test\n7\nAAAA\n' },
        },
        canonicalizedBody: 'AAAA',
      }),
      freshness: async () => JSON.stringify({ fresh: true }),
      trusted: async (what) =>
        what.endsWith('.json') ? JSON.stringify({ file: what }) : `the ${what}\n`,
      reindex: async () => ({ entries: 7, digest: testDigest('cc') }),
    },
    signingKeys: {
      list: async () => [signingKey],
      rotate: async (_asked, { role, kms }) => [
        { ...signingKey, role, place: kms === null ? signingKey.place : { kind: 'kms', arn: kms } },
      ],
    },
    requests: memoryRequests(),
  }
  return { ...ports, state, progress, current }
}

const signingKey = {
  role: 'promote' as const,
  fingerprint: testDigest('dd'),
  from: 0,
  to: null,
  place: { kind: 'file' as const },
}

function paged<T>(items: T[], { limit, cursor }: PageRequest) {
  const from = Number(cursor ?? 0)
  const next = from + limit < items.length ? String(from + limit) : null
  return { items: items.slice(from, from + limit), next }
}

function memoryRequests(): ApiDeps['requests'] {
  const written = new Map<string, string>()
  return {
    put: async (key, bytes) => {
      const text = Buffer.from(bytes).toString()
      if ((written.get(key) ?? text) !== text) throw new KilnError('digest_mismatch', key)
      written.set(key, text)
    },
  }
}

export type MemoryPorts = ReturnType<typeof memoryPorts>

/** The real server over memory ports, listening on loopback. */
export async function startTestApi(ports: MemoryPorts, more: Partial<ApiDeps> = {}) {
  const app = await createApi({
    ...ports,
    logger: pino({ level: 'silent' }),
    version: '0.1.0',
    token: { name: 'local', secret },
    ...more,
  })
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, address, token: secret }
}
