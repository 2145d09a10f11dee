import { PGlite } from '@electric-sql/pglite'
import { createPgConfig } from '@electric-sql/pglite/node-postgres'
import { execa } from 'execa'
import { globSync, readFileSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Kysely, PostgresDialect } from 'kysely'
import { Migrator } from 'kysely/migration'
import { Pool } from 'pg'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test } from 'vitest'
import { digestOfJson } from '../../signing/canonical.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { environmentOf } from '../../src/domain/ledger.ts'
import { environmentName, type EnvironmentName } from '../../src/domain/name.ts'
import type { Fact } from '../../src/domain/statement.ts'
import { renderInitialConfig } from '../../src/edge/edge.ts'
import { readState, type EdgeState } from '../../src/edge/state.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openIndex } from '../../src/ledger/index-database.ts'
import { migrations, type IndexTables } from '../../src/ledger/index-schema.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { createAdmission } from '../../src/main/admission.ts'
import { loadConfig } from '../../src/main/config.ts'
import { edgePathsOf } from '../../src/main/edge-paths.ts'
import { openLedgerView } from '../../src/main/ledger-view.ts'
import { localVerify } from '../../src/main/local-verify.ts'
import { createRegistryAdmission } from '../../src/main/registry-admission.ts'
import { openCredentials } from '../../src/main/secrets.ts'
import { readState as readSupervisor } from '../../src/main/supervisor/state.ts'
import { decide } from '../../src/promote/activities.ts'
import { openFence } from '../../src/runtime/fence.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { folderSigner, origin } from '../helpers/ledger-signer.ts'
import { plainLedger } from '../helpers/plain-ledger.ts'
import { scratch } from '../helpers/store-scratch.ts'

// Homes that earlier releases wrote, and what those releases read in them: scripts/record-state.ts. That
// their histories replay is test/workflows/replay.test.ts.

/** What a release said of its own home. */
type Expected = {
  ledger: object & { size: number }
  facts: Fact[]
  host: { environment: EnvironmentName; epoch: number; sequence: number }[]
  denied: Digest[]
  edge: EdgeState
  supervisor: object
  credentials: object
  migrations: string[]
}

const fixtures = join(import.meta.dirname, '../fixtures')
const releases = globSync('state-*', { cwd: fixtures }).toSorted()
const logger = pino({ level: 'silent' })
const [dev, prod] = [environmentName('hello', 'dev'), environmentName('hello', 'prod')]
const now = new Date('2026-02-01T00:00:00Z')

test('a home of every release is kept', () => {
  const recorded = globSync('*', { cwd: join(import.meta.dirname, '../histories') })
  expect(releases).toEqual(recorded.toSorted().map((release) => `state-${release}`))
})

describe.each(releases)('the home of %s', (release) => {
  const folder = join(fixtures, release)
  const expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Expected

  /** A copy, as the release left it. */
  async function home() {
    const at = scratch()
    await execa('tar', ['-xzpf', join(folder, 'home.tar.gz'), '-C', at])
    return loadConfig({ KILN_HOME: at, KILN_ORIGIN: origin }, '/')
  }

  /** What a process of today that knows nothing yet believes of it, and everything that is wrong with it. */
  async function examine({ paths }: Awaited<ReturnType<typeof home>>) {
    const view = await openLedgerView(paths, logger)
    const ledger = await view.reader.refresh()
    const head = openFolderHead({ root: paths.store })
    const { problems, entries } = await fsck({
      store: view.store,
      head,
      trust: view.reader.trust(),
    })
    expect(problems).toEqual([])
    expect(entries).toBe(ledger.size)
    return { ...view, ledger, facts: view.reader.facts() }
  }

  test('holds a statement of every kind', () => {
    expect([...new Set(expected.facts.map(({ kind }) => kind))].toSorted()).toEqual([
      'activation',
      'change',
      'denial',
      'drift',
      'key',
      'provenance',
      'refusal',
      'rejected',
      'release',
      'roles',
      'sbom',
      'sealed',
    ])
  })

  test('verifies whole, and its ledger says what it said', async () => {
    const { ledger, facts } = await examine(await home())
    expect(facts).toHaveLength(expected.ledger.size)
    expect(facts).toMatchObject(expected.facts)
    expect(plainLedger(ledger)).toMatchObject(expected.ledger)
  })

  test.each(['hello/dev', 'hello/test', 'hello/prod'])(
    'the active key of %s is still admissible',
    async (name) => {
      const { checks } = await localVerify(await home(), name)
      expect(checks.filter(({ passed }) => !passed)).toEqual([])
      expect(checks.map(({ name: check }) => check)).toContain('admissible')
    },
  )

  test('the registry serves hosts what its keys admit, and not what was denied', async () => {
    const { ledger, reader } = await openView((await home()).paths)
    const serves = await createRegistryAdmission(reader)()
    const active = [dev, prod].map((name) => environmentOf(ledger, name).active!.body.digest)
    expect(active.map((digest) => serves(digest))).toEqual([true, true])
    expect(expected.denied.map((digest) => serves(digest))).toEqual(
      expected.denied.map(() => false),
    )
    expect(expected.denied).not.toEqual([])
  })

  test('its host goes on where it was', async () => {
    const { paths } = await home()
    const { ledger, store, reader } = await openView(paths)
    const fence = await openFence({ folder: paths.host })
    onTestFinished(() => fence.close())
    expect(fence.environments()).toHaveLength(expected.host.length)
    for (const known of expected.host) {
      const { environment, epoch } = known
      expect(fence.record(environment)).toMatchObject(known)
      const older = { environment, epoch: epoch - 1, change: 'older' }
      expect(() => fence.assertCurrent(older)).toThrow('is over')
    }
    for (const digest of expected.denied) expect(fence.isDenied(digest)).toBe(true)
    await fence.learn([...ledger.environments.values()])
    const { active } = environmentOf(ledger, prod)
    const { digest, definition, epoch, sequence } = active!.body
    const admission = createAdmission(
      { store, reader },
      { deny: fence.deny, demandFresh: async () => undefined },
    )
    const seen = { epoch, sequence }
    const asked = { environment: prod, digest, definition, key: active!.leaf, seen }
    expect((await admission.check(asked)).definition).toMatchObject({ environment: 'prod' })
  })

  test('its edge, its passwords and what its supervisor left are read', async () => {
    const { paths } = await home()
    const files = edgePathsOf(paths)
    expect(await readState(files.state)).toEqual(expected.edge)
    await renderInitialConfig({ paths: files, entrance: null })
    const config = await readFile(files.config, 'utf8')
    const servers = expected.edge.environments.flatMap((one) => one.servers)
    expect(servers.length).toBeGreaterThan(3)
    for (const { name, address } of servers) {
      expect(config).toMatch(new RegExp(`server ${name} ${address}:`))
    }
    expect(await openCredentials(paths.credentials)).toEqual(expected.credentials)
    expect(readSupervisor(paths.home)).toEqual(expected.supervisor)
  })

  test('what it left open is settled, work goes on, and everything verifies again', async () => {
    const config = await home()
    const { paths } = config
    const { store, ledger: before } = await openView(paths)
    const signer = await folderSigner(paths.keys)
    const head = openFolderHead({ root: paths.store })
    const ledger = openLedger({ store, head, signer, trust: signer.trust, logger })
    await ledger.complete()
    const { open, pending } = environmentOf(before, dev)
    const { epoch, change, from } = open!.body
    const signable = {
      kind: 'activation',
      time: now.toISOString(),
      artifact: open!.artifact,
      body: {
        environment: dev,
        epoch,
        change,
        outcome: 'failed',
        key: pending!.leaf,
        serving: from,
        instances: [],
        failure: { code: 'change_failed', message: 'Kiln was upgraded' },
      },
    } as const
    const decided = await ledger.decide({ id: `activation ${dev} ${epoch}`, signable })
    expect(decided.index).toBe(expected.ledger.size)
    // A decision of the release is the same decision today: nothing is signed twice.
    const roles = { kind: 'roles', time: now.toISOString(), trust: signer.trust } as const
    expect(await ledger.decide({ id: `roles ${origin}`, signable: roles })).toMatchObject({
      index: 0,
      leaf: expected.facts[0]?.leaf,
    })
    const after = await examine(config)
    expect(after.facts.slice(0, -1)).toMatchObject(expected.facts)
    expect(environmentOf(after.ledger, dev)).toMatchObject({ open: null, epoch })
    const request = {
      id: 'change.hello.dev.next',
      environment: dev,
      wish: { kind: 'promotion', digest: open!.artifact!, automatic: false },
      reason: 'again',
      principal: { name: 'ann', kind: 'token' },
      requestedAt: now.toISOString(),
    } as const
    expect(decide(after.ledger, request, { digestOfJson, now })).toMatchObject({
      kind: 'change',
      body: { epoch: epoch + 1 },
    })
  })

  test('its index is brought forward, and equals one made anew, which leaves what is not of the ledger', async () => {
    const { paths } = await home()
    await leaveIndex(paths.index, expected.migrations)
    const { reader } = await openView(paths)
    const index = await openIndex({ place: { kind: 'pglite', dir: paths.index }, logger })
    onTestFinished(() => index.close())
    await index.take(delivery, '')
    expect(await index.catchUp(reader)).toBe(expected.ledger.size)
    const lines = async () => {
      const found: string[] = []
      for await (const line of index.dump()) found.push(line)
      return found
    }
    const folded = await lines()
    expect(folded.filter((line) => line.startsWith('facts '))).toHaveLength(expected.ledger.size)
    expect(await index.reindex(reader)).toMatchObject({ entries: expected.ledger.size })
    expect(await lines()).toEqual(folded)
    expect(await index.deliveries(10)).toMatchObject([{ delivery: 'd1' }])
  }, 180_000)
})

test('keys of 0.1.0 name a build level, and its host records name nothing in the making', async () => {
  const at = scratch()
  await execa('tar', ['-xzpf', join(fixtures, 'state-0.1.0/home.tar.gz'), '-C', at])
  const config = loadConfig({ KILN_HOME: at, KILN_ORIGIN: origin }, '/')
  const { reader, ledger } = await openView(config.paths)
  const { active } = environmentOf(ledger, prod)
  const { dsseEnvelope } = (await reader.bundleOf(active!.leaf)) as unknown as {
    dsseEnvelope: { payload: string }
  }
  const payload = Buffer.from(dsseEnvelope.payload, 'base64').toString()
  expect(payload).toContain('SLSA_BUILD_LEVEL_UNEVALUATED')
  const text = await readFile(join(config.paths.host, 'hello.prod.json'), 'utf8')
  expect(JSON.parse(text)).not.toHaveProperty('making')
})

async function openView(paths: Parameters<typeof openLedgerView>[0]) {
  const view = await openLedgerView(paths, logger)
  return { ...view, ledger: await view.reader.refresh() }
}

/** What is not of the ledger. */
const delivery = {
  forge: 'github',
  delivery: 'd1',
  event: 'push',
  body: 'f'.repeat(64),
  repository: null,
  branch: null,
  commit: null,
  result: 'ignored',
  message: 'not watched',
  received_at: '2026-01-01T00:00:00.000Z',
}

/** An index as a release that had these migrations left it. */
async function leaveIndex(dir: string, names: readonly string[]): Promise<void> {
  await mkdir(dir)
  const pglite = await PGlite.create({ dataDir: join(dir, 'pg') })
  const pool = new Pool(Object.assign(createPgConfig(pglite), { max: 1 }))
  const db = new Kysely<IndexTables>({ dialect: new PostgresDialect({ pool }) })
  const then = Object.entries(migrations).filter(([name]) => names.includes(name))
  expect(then).toHaveLength(names.length)
  const provider = { getMigrations: async () => Object.fromEntries(then) }
  const { error } = await new Migrator({ db, provider }).migrateToLatest()
  expect(error).toBeUndefined()
  await db.destroy()
  await pglite.close()
}
