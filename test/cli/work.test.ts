import { afterEach, beforeEach, expect, test } from 'vitest'
import { client } from '../../src/api/client.ts'
import { findConnection } from '../../src/cli/connection.ts'
import { errors, isErrorCode, KilnError } from '../../src/domain/error.ts'
import type { Failure, Operation } from '../../src/domain/operation.ts'
import { jsonLines, kiln, kilnHere, startKiln } from '../helpers/cli.ts'
import {
  memoryPorts,
  secret,
  startTestApi,
  testArtifact,
  testDigest,
} from '../helpers/api-ports.ts'

let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>
let env: Record<string, string>

beforeEach(async () => {
  ports = memoryPorts()
  api = await startTestApi(ports)
  env = { KILN_ADDRESS: api.address, KILN_TOKEN: secret }
})
afterEach(() => api.app.close())

const promote = ['promote', 'hello/prod', 'a1a1a1']

function failure(code: Failure['code'], more: Partial<Failure> = {}): Failure {
  return { code, message: `why ${code}`, place: null, fix: null, lines: [], ...more }
}

test.each(Object.keys(errors).filter(isErrorCode))('%s ends with its exit code', async (code) => {
  ports.state.failure = new KilnError(code, `why ${code}`)
  const refused = await kilnHere(promote, { connection: api })
  expect(refused.code).toBe(errors[code].exit)
  expect(refused.stderr).toContain(`kiln: ${code}: why ${code}\n`)
  expect(refused.stderr).toMatch(
    new RegExp(`more: docs/errors.md#${code} \\(request [0-9a-f-]{36}\\)`),
  )
  ports.state.failure = undefined
  ports.state.script = [{ state: 'failed', failure: failure(code) }]
  expect((await kilnHere(promote, { connection: api })).code).toBe(errors[code].exit)
})

// The program gives the process what `kilnHere` returns: the rows above are all codes. A program that
// breaks exits with 1, so that another code shows it.
test('the process that meets verification_failed exits with 8', async () => {
  ports.state.failure = new KilnError('verification_failed', 'why')
  expect((await kiln(promote, { env })).code).toBe(8)
})

test.each([
  ['succeeded', 0],
  ['unchanged', 0],
  ['failed', 1],
  ['refused', 5],
  ['cancelled', 1],
  ['superseded', 6],
] as const)('work that ends %s exits with %d', async (state, exit) => {
  ports.state.script = [{ state }]
  expect((await kilnHere(promote, { connection: api })).code).toBe(exit)
})

test('what is there already is said, and is no error', async () => {
  ports.state.script = [{ state: 'unchanged', result: { digest: testDigest('a1'), sequence: 4 } }]
  const { code, stderr } = await kilnHere(promote, { connection: api })
  expect(code).toBe(0)
  expect(stderr).toContain('hello/prod: already at a1a1a1a1a1a1 (key 4)')
})

test.each([
  [['promot'], /Did you mean promote/],
  [['promote'], /missing required argument 'environment'/],
  [['environments', '--jsn'], /Did you mean --json/],
  [['scale', 'hello/prod', 'many'], /not a number of instances/],
  [['build', 'hello'], /<repository>@<commit>/],
  [['build', 'git@host:path'], /<repository>@<commit>/],
  [['promote', 'hello/prod', 'A1A1A1'], /not a digest/],
  [['promote', 'hello/prod/x'], /not an environment/],
  [['promote', 'hello/prod', 'a1a1a1', '--wait', 'soon'], /90s, 15m or 1h30m/],
  [['environments', '--progress', 'loud'], /Allowed choices are auto, tty, plain, json/],
  [['history', 'hello/prod', '--limit', '0'], /whole number from 1 to 200/],
])('wrong use %j exits with 2 and helps', async (args, helps) => {
  const { code, stderr } = await kilnHere(args, { connection: api })
  expect(code).toBe(2)
  expect(stderr).toMatch(helps)
  const json = await kilnHere([...args, '--json'], { connection: api })
  expect(jsonLines(json.stdout)[0]).toMatchObject({ version: 1, error: { code: 'invalid_input' } })
  expect(ports.state.started).toEqual([])
})

test('a failing step shows its last 20 lines at the end, and what to do next', async () => {
  const lines = Array.from({ length: 50 }, (_none, at) => `line ${at + 1}`)
  ports.state.script = [
    { state: 'running', result: { build: 'build:beef' } },
    { state: 'failed', failure: failure('build_failed', { place: 'Dockerfile:3 RUN', lines }) },
  ]
  const { code, stderr } = await kilnHere(['build', '/srv/hello@main'], { connection: api })
  expect(code).toBe(1)
  const shown = stderr.split('\n').filter((line) => line.startsWith('  | '))
  expect(shown).toEqual(lines.slice(30).map((line) => `  | ${line}`))
  expect(stderr).toContain(
    'kiln: build_failed: Dockerfile:3 RUN: why build_failed\n  next: kiln logs build:beef\n',
  )
})

test('plain progress gives each step in order, once when it begins and once when it ends', async () => {
  const at = '2026-11-20T12:00:00Z'
  const step = { startedAt: at, endedAt: null, attempt: 1, detail: null }
  const done = { ...step, state: 'done', endedAt: '2026-11-20T12:00:02Z' } as const
  ports.state.script = [
    { state: 'running', steps: [{ ...step, name: 'plan', state: 'running' }] },
    { steps: [{ ...step, name: 'plan', state: 'running' }] },
    {
      steps: [
        { ...done, name: 'plan' },
        { ...step, name: 'issue key', state: 'running' },
      ],
    },
    {
      state: 'succeeded',
      steps: [
        { ...done, name: 'plan' },
        { ...done, name: 'issue key', detail: 'key 3' },
      ],
    },
  ]
  const { stderr } = await kilnHere(promote, { connection: api })
  expect(stderr.split('\n').slice(1, 5)).toEqual([
    '  plan ...',
    '  plan 2.0 s  done',
    '  issue key ...',
    '  issue key 2.0 s  key 3  done',
  ])
})

test('--progress json gives snapshots on standard error, --json the end on standard output', async () => {
  const { stdout, stderr } = await kilnHere([...promote, '--progress', 'json', '--json'], {
    connection: api,
  })
  expect(jsonLines(stderr).map((line) => line['event'])).toEqual([1, 2, 3])
  expect(jsonLines(stdout)).toMatchObject([{ version: 1, operation: { state: 'succeeded' } }])
})

test('KILN_PROGRESS says how progress is shown; what it does not know is wrong use', async () => {
  const { stderr } = await kilnHere(promote, { connection: api, env: { KILN_PROGRESS: 'json' } })
  expect(jsonLines(stderr)).toHaveLength(3)
  const wrong = await kilnHere(promote, { connection: api, env: { KILN_PROGRESS: 'loud' } })
  expect(wrong.code).toBe(2)
  expect(wrong.stderr).toContain('KILN_PROGRESS: not a way to show progress: loud')
})

test('where the environment can be reached is said at the end', async () => {
  const { stderr } = await kilnHere(promote, { connection: api })
  expect(stderr).toContain('  at http://127.0.0.1:8080\n')
})

test('follow --json gives one line for each snapshot', async () => {
  const { stdout } = await kilnHere([...promote, '--no-wait'], { connection: api })
  const { stdout: followed, code } = await kilnHere(['follow', stdout.trim(), '--json'], {
    connection: api,
  })
  expect(jsonLines(followed)).toMatchObject([
    { event: 1 },
    { event: 2 },
    { event: 3, operation: { state: 'succeeded' } },
  ])
  expect(code).toBe(0)
})

test('Ctrl-C leaves the work running, says how to come back, and exits with 130', async () => {
  ports.state.script = [{ state: 'running' }]
  const { child, written, ended } = startKiln([...promote, '--progress', 'plain'], { env })
  await expect.poll(() => written.stderr, { timeout: 20_000 }).toContain('promotion hello/prod')
  child.kill('SIGINT')
  const { code, stderr } = await ended
  const id = `promotion.${ports.state.started[0]?.asked.id}`
  expect(code).toBe(130)
  expect(stderr).toContain(
    `the work goes on\n  watch it: kiln follow ${id}\n  stop it:  kiln cancel ${id}\n`,
  )
  expect(ports.current(id)?.state).toBe('running')
})

test.each([
  ['--no-wait', (args: string[]) => kiln(args, { env })],
  ['--detach', (args: string[]) => kilnHere(args, { connection: api })],
])('%s prints the id and leaves', async (option, run) => {
  ports.state.script = [{ state: 'running' }]
  const { code, stdout } = await run([...promote, option])
  expect(code).toBe(0)
  expect(ports.current(stdout.trim())?.state).toBe('running')
})

test('a wait that is over exits with 7 and leaves the work running', async () => {
  ports.state.script = [{ state: 'running' }]
  const { code, stderr } = await kilnHere([...promote, '--wait', '1s'], { connection: api })
  expect(code).toBe(7)
  expect(stderr).toContain('the wait is over; the work goes on')
})

test('work that waits for other work says whose, since when, and how to watch it', async () => {
  Object.assign(ports.state.environments[2] ?? {}, {
    open: {
      operation: 'change.hello.prod.other',
      kind: 'rollback',
      epoch: 4,
      digest: testDigest('b2'),
      requestedBy: 'ana\u001B[31m',
      since: '2026-11-20T12:55:00Z',
    },
  })
  ports.state.script = []
  const { stderr } = await kilnHere([...promote, '--wait', '1s'], { connection: api })
  expect(stderr).toContain(
    "hello/prod is busy: ana's rollback of b2b2b2b2b2b2, begun 5 min ago; yours waits",
  )
  expect(stderr).toContain('kiln follow change.hello.prod.other')
})

test('a connection that breaks is taken up again where it was', async () => {
  ports.state.script = [{ state: 'running' }]
  const watch = ports.operations.watch.bind(ports.operations)
  const afters: number[] = []
  ports.operations.watch = async function* breaking(id, after, signal) {
    afters.push(after)
    for await (const snapshot of watch(id, after, signal)) {
      yield snapshot
      if (afters.length === 1 && snapshot.id === 2) return
      if (snapshot.id === 2) break
      if (afters.length === 2 && snapshot.id === 3) return
    }
  }
  const ended = kilnHere([...promote, '--progress', 'json'], { connection: api })
  await expect.poll(() => afters, { timeout: 20_000 }).toEqual([0, 2])
  const id = `promotion.${ports.state.started[0]?.asked.id}`
  ports.progress(id, { result: { sequence: 9 } })
  ports.progress(id, { state: 'succeeded' })
  const { code, stderr } = await ended
  expect(code).toBe(0)
  expect(jsonLines(stderr.replace(/^[^{].*$/gm, '')).map((line) => line['event'])).toEqual([
    1, 2, 3, 4,
  ])
  expect(afters[2]).toBe(3)
})

test('without a digest, what the previous environment has active is promoted', async () => {
  const active = ports.state.environments[1]?.active
  Object.assign(active ?? {}, { digest: testDigest('a1') })
  await kilnHere(['promote', 'prod'], { connection: api })
  expect(ports.state.started[0]?.input).toMatchObject({
    environment: 'hello/prod',
    digest: testDigest('a1'),
  })
  const first = await kilnHere(['promote', 'hello/dev'], { connection: api })
  expect(first.code).toBe(2)
  expect(first.stderr).toContain('kiln promote hello/dev <digest>')
})

test('a name without its app must be the only one', async () => {
  ports.state.environments.push({
    ...ports.state.environments[2],
    app: 'other',
    name: 'other/prod',
  } as never)
  const { code, stderr } = await kilnHere(['release', 'prod'], { connection: api })
  expect(code).toBe(2)
  expect(stderr).toContain('prod could be hello/prod or other/prod')
})

test('an ambiguous digest names both', async () => {
  ports.state.artifacts.push({
    ...testArtifact('a1'),
    digest: testDigest('a1').replace(/.{4}$/, '0000') as never,
  })
  const { code, stderr } = await kilnHere(promote, { connection: api })
  expect(code).toBe(2)
  expect(stderr).toContain('kiln: ambiguous')
  expect(stderr).toContain(testDigest('a1'))
})

test('what others wrote cannot steer the terminal', async () => {
  ports.state.buildLog =
    '\u001B]0;title\u0007red \u001B[31mred\u001B[0m\rover \u009B2Jend \u202Eback\n'
  const { stdout } = await kilnHere(['logs', 'build:x'], { connection: api })
  expect(stdout).toBe('red redover end back\n')
})

test('the same key again is the same work', async () => {
  const args = [...promote, '--no-wait', '--idempotency-key', 'deploy-42']
  const first = await kilnHere(args, { connection: api })
  const again = await kilnHere(args, { connection: api })
  expect(again.stdout).toBe(first.stdout)
  expect(ports.state.started).toHaveLength(1)
})

test('a rollback off a terminal must say where to', async () => {
  const { code, stderr } = await kilnHere(['rollback', 'hello/prod'], { connection: api })
  expect(code).toBe(2)
  expect(stderr).toContain('kiln rollback hello/prod --previous')
  expect(ports.state.started).toEqual([])
})

test.each([
  [['--previous'], null],
  [['--to', 'a1a1a1'], testDigest('a1')],
])('a rollback with %j goes there', async (options, to) => {
  const { code } = await kilnHere(['rollback', 'hello/prod', ...options, '--reason', 'slow'], {
    connection: api,
  })
  expect(code).toBe(0)
  expect(ports.state.started[0]?.input).toEqual({ environment: 'hello/prod', to, reason: 'slow' })
})

test('a rollback with nothing to go back to is refused', async () => {
  Object.assign(ports.state.environments[2] ?? {}, { rollbackTo: null })
  ports.state.targets = []
  const { code, stderr } = await kilnHere(['rollback', 'hello/prod', '--previous'], {
    connection: api,
  })
  expect(code).toBe(5)
  expect(stderr).toContain('hello/prod has no earlier good artifact to return to')
})

test('no server: exit 3 and the command that starts one; no token: exit 4', async () => {
  const nobody = await kilnHere(['environments'], {
    connection: api,
    connect: async () => client(await findConnection({}, '/nonexistent')),
  })
  expect(nobody.code).toBe(3)
  expect(nobody.stderr).toContain('next: kiln up')
  const { address } = api
  const stranger = await kilnHere(['environments'], {
    connection: { address, token: 'x'.repeat(40) },
  })
  expect(stranger.code).toBe(4)
  expect(stranger.stderr).not.toContain('xxxxxxxx')
})

test.each<[Partial<Operation>, string]>([
  [{ state: 'succeeded', result: { digest: testDigest('a1') } }, `succeeded\t${testDigest('a1')}`],
  [{ state: 'succeeded' }, 'succeeded\t-'],
])('piped, the outcome is one line for a program', async (end, line) => {
  ports.state.script = [end]
  const { stdout } = await kilnHere(promote, { connection: api })
  expect(stdout).toBe(`promotion.${ports.state.started[0]?.asked.id}\t${line}\n`)
})
