import { execa } from 'execa'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { environmentName } from '../src/domain/name.ts'
import { migrations } from '../src/ledger/index-schema.ts'
import { openCredentials, openToken } from '../src/main/secrets.ts'
import { readState, writeState } from '../src/main/supervisor/state.ts'
import { openFence } from '../src/runtime/fence.ts'
import { plainLedger } from '../test/helpers/plain-ledger.ts'
import { reject, seal } from './state/artifacts.ts'
import * as changes from './state/changes.ts'
import { edgeOf } from './state/host.ts'
import { openRooms, type Rooms } from './state/rooms.ts'

/**
 * Records a small home of this release into test/fixtures/state-<release>, for test/main/upgrade.test.ts:
 * home.tar.gz, as the release's own rooms wrote it, and expected.json, as they read it. It must run on the
 * code of that release, so before anything of the next one is added:
 *
 *   sh scripts/run.sh --for test scripts/record-state.ts <release>
 *
 * For 0.1.0 it ran in a checkout of fd30aeb, with this file, scripts/state and test/helpers/plain-ledger.ts put
 * into it.
 * The keys in it were made for it and sign nothing else.
 */
const release = process.argv[2] ?? ''
if (!/^[a-z0-9.-]+$/.test(release)) throw new Error('which release? For example 0.1.0')

const root = join(import.meta.dirname, '..')
const home = await mkdtemp(join(tmpdir(), 'kiln-state-'))
try {
  await save(await record())
} finally {
  await rm(home, { recursive: true, force: true })
}

async function record(): Promise<Rooms> {
  const { deny, drift, fail, leaveOpen, liftHold, promotion, refuse, succeed } = changes
  const dev = environmentName('hello', 'dev')
  const test = environmentName('hello', 'test')
  const prod = environmentName('hello', 'prod')
  const rooms = await openRooms({ home, release })
  const one = await seal(rooms, 'one')
  const two = await seal(rooms, 'two')
  const three = await seal(rooms, 'three')
  await reject(rooms)
  for (const digest of [one, two]) {
    for (const environment of [dev, test, prod]) {
      await succeed(rooms, environment, promotion(digest))
    }
  }
  await fail(rooms, dev, promotion(three))
  await refuse(rooms, prod, promotion(three))
  await succeed(rooms, test, { kind: 'rollback', to: null })
  await liftHold(rooms, test)
  await succeed(rooms, prod, { kind: 'rollback', to: null })
  await succeed(rooms, prod, { kind: 'scale', instances: 3 })
  await drift(rooms, prod)
  await deny(rooms, three)
  await leaveOpen(rooms, dev, promotion(one))
  return rooms
}

async function save(rooms: Rooms): Promise<void> {
  const { paths } = rooms
  await openToken(paths.token)
  await openCredentials(paths.credentials)
  writeSupervisor(rooms.now().toISOString())
  const ledger = await rooms.ledger.refresh()
  const fence = await openFence({ folder: paths.host })
  const expected = {
    release,
    ledger: plainLedger(ledger),
    facts: rooms.ledger.facts(),
    host: fence.environments().map((environment) => fence.record(environment)),
    denied: [...ledger.denied.keys()],
    edge: await edgeOf(rooms).read(),
    supervisor: readState(home),
    credentials: await openCredentials(paths.credentials),
    migrations: Object.keys(migrations),
  }
  fence.close()
  const folder = join(root, 'test/fixtures', `state-${release}`)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'expected.json'), `${JSON.stringify(expected, null, 1)}\n`)
  // Locks are no state, and the edge's other files are made from its state at each start.
  const without = ['owner.lock', 'tmp', 'haproxy.cfg', 'readiness.map'].map(
    (name) => `--exclude=${name}`,
  )
  const plain = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner']
  await execa('tar', [...plain, ...without, '-czf', join(folder, 'home.tar.gz'), '-C', home, '.'])
}

/** As it is left by `kiln down`. */
function writeSupervisor(since: string): void {
  const name = 'server'
  writeState(home, {
    version: 1,
    pid: 4_194_304,
    startToken: '1',
    phase: 'stopped',
    since,
    failure: null,
    processes: [
      {
        name,
        state: 'stopped',
        pid: null,
        startToken: null,
        restarts: 0,
        since,
        address: null,
        log: 'server.log',
        lastExit: null,
      },
    ],
  })
}
