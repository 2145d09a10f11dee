import { afterEach, beforeEach, expect, test } from 'vitest'
import { kilnHere } from '../helpers/cli.ts'
import { memoryPorts, startTestApi, testDigest } from '../helpers/api-ports.ts'

let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>

beforeEach(async () => {
  ports = memoryPorts()
  api = await startTestApi(ports)
})
afterEach(() => api.app.close())

const revoke = ['revoke', 'a1a1a1', '--reason', 'key leaked']
const result = {
  by: 'ana',
  since: '2026-11-20T12:00:00Z',
  reason: 'key leaked',
  'hello/prod': `returned to ${testDigest('b2')} (key 3)`,
  'hello/test': 'stopped: nothing to return to',
}

test('a revocation ends with who denied it, and what became of each environment', async () => {
  ports.state.script = [{ state: 'succeeded', result }]
  const { code, stdout, stderr } = await kilnHere(revoke, { connection: api })
  expect(code).toBe(0)
  expect(stdout).toBe(
    `hello/prod\t${result['hello/prod']}\nhello/test\tstopped: nothing to return to\n`,
  )
  expect(stderr).toContain('denied since 2026-11-20T12:00:00Z by ana: key leaked')
  expect(ports.state.started).toMatchObject([
    {
      verb: 'revoke',
      input: { subject: { kind: 'artifact', digest: testDigest('a1') }, reason: 'key leaked' },
    },
  ])
  const json = await kilnHere([...revoke, '--json'], { connection: api })
  expect(JSON.parse(json.stdout)).toMatchObject({ version: 1, operation: { result } })
})

test('without a reason nothing is denied', async () => {
  for (const more of [[], ['--reason', '']]) {
    const { code, stderr } = await kilnHere(['revoke', 'a1a1a1', ...more], { connection: api })
    expect([code, stderr]).toEqual([2, expect.stringContaining('a denial needs a reason')])
  }
  expect(ports.state.started).toEqual([])
})

test('one that could not leave it is a failure that says what to watch, and no way to cancel is offered', async () => {
  const failure = {
    code: 'change_failed',
    message: 'it is denied, and hello/prod could not be brought away from it; Kiln goes on trying',
    place: 'hello/prod',
    fix: 'kiln follow change.hello.prod.1',
    lines: [],
  } as const
  ports.state.script = [{ state: 'failed', failure, result }]
  const { code, stderr } = await kilnHere(revoke, { connection: api })
  expect(code).toBe(1)
  expect(stderr).toContain('next: kiln follow change.hello.prod.1')
  ports.state.script = [{ state: 'running' }]
  const waited = await kilnHere([...revoke, '--wait', '1s'], { connection: api })
  expect(waited.code).toBe(7)
  expect(waited.stderr).not.toContain('kiln cancel')
})

test.each([
  ['hello/prod@7', { kind: 'key', environment: 'hello/prod', sequence: 7 }],
  ['debian-base@1a2b3c', { kind: 'template', name: 'debian-base', lock: '1a2b3c' }],
])('%s is denied as what it is', async (what, subject) => {
  const { code } = await kilnHere(['revoke', what, '--reason', 'stolen'], { connection: api })
  expect(code).toBe(0)
  expect(ports.state.started).toMatchObject([{ verb: 'revoke', input: { subject } }])
})

test.each([
  [[], null],
  [['--from', '0'], 0],
  [['--from', '412'], 412],
])('a signing key is named by its fingerprint in full, %j', async (more, from) => {
  const fingerprint = testDigest('dd')
  const command = ['revoke', fingerprint, '--reason', 'stolen', ...more]
  expect((await kilnHere(command, { connection: api })).code).toBe(0)
  const subject = { kind: 'signing-key', fingerprint, from }
  expect(ports.state.started).toMatchObject([{ verb: 'revoke', input: { subject } }])
})

test.each([
  [testDigest('dd'), 'x'],
  [testDigest('dd'), '-1'],
  [testDigest('a1'), '7'],
  ['hello/prod@7', '7'],
])('--from with %s and %s denies nothing', async (what, from) => {
  const command = ['revoke', what, '--reason', 'stolen', '--from', from]
  const { code, stderr } = await kilnHere(command, { connection: api })
  expect([code, stderr]).toEqual([2, expect.stringContaining('--from')])
  expect(ports.state.started).toEqual([])
})

test.each(['hello/prod@', 'hello/prod@x', 'debian-base@', 'Debian@1a2b3c', 'a/b/c@1'])(
  '%s is nothing that could be denied',
  async (what) => {
    const { code } = await kilnHere(['revoke', what, '--reason', 'stolen'], { connection: api })
    expect(code).toBe(2)
    expect(ports.state.started).toEqual([])
  },
)
