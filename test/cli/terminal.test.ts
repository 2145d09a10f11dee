import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { argvOf } from '../helpers/cli.ts'
import { memoryPorts, secret, startTestApi, testDigest } from '../helpers/api-ports.ts'

const run = promisify(execFile)

let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>
let folder: string

beforeEach(async () => {
  ports = memoryPorts()
  api = await startTestApi(ports)
  folder = await mkdtemp(join(tmpdir(), 'kiln-tmux-'))
})
afterEach(async () => {
  // Only the tmux server of this test; it has a socket of its own.
  await tmux('kill-server').catch(() => undefined)
  await rm(folder, { recursive: true })
  await api.app.close()
})

const tmux = (...args: string[]) =>
  run('tmux', ['-S', join(folder, 'socket'), '-f', '/dev/null', ...args])
const screen = async () => (await tmux('capture-pane', '-p', '-t', 'kiln')).stdout
const press = (...keys: string[]) => tmux('send-keys', '-t', 'kiln', ...keys)

/** Runs the program on a terminal of 24 rows; the screen stays after it ended, with its exit code. */
async function onTerminal(args: readonly string[], more: Record<string, string> = {}) {
  const environment = {
    KILN_ADDRESS: api.address,
    KILN_TOKEN: secret,
    HOME: '/nonexistent',
    ...more,
  }
  const variables = Object.entries(environment).flatMap(([name, value]) => [
    '-e',
    `${name}=${value}`,
  ])
  const command = [process.execPath, ...argvOf(args)].map((word) => `'${word}'`).join(' ')
  const shell = `${command}; echo "exit: $?"; read -r _`
  await tmux('new-session', '-d', '-s', 'kiln', '-x', '100', '-y', '24', ...variables, shell)
}

async function shows(text: RegExp): Promise<void> {
  await expect.poll(screen, { timeout: 30_000 }).toMatch(text)
}

test('rollback without an argument: Enter picks the last good one', async () => {
  await onTerminal(['rollback', 'hello/prod'])
  await shows(/Roll back to\?/)
  const seen = await screen()
  expect(seen).toContain('hello/prod serves b2b2b2b2b2b2  second commit')
  expect(seen).toMatch(
    /● a1a1a1a1a1a1 {2}.* ago {2}a1c0ffee0000 {2}subject of a1 {2}by token:local/,
  )
  expect(seen).toMatch(/○ 000000000000/)
  expect(ports.state.started).toEqual([])
  await press('Enter')
  await shows(/exit: 0/)
  expect(ports.state.started).toMatchObject([
    { verb: 'rollback', input: { environment: 'hello/prod', to: testDigest('a1') } },
  ])
})

test('another one can be picked', async () => {
  await onTerminal(['rollback', 'hello/prod'])
  await shows(/Roll back to\?/)
  await press('Down', 'Enter')
  await shows(/exit: 0/)
  expect(ports.state.started).toMatchObject([{ input: { to: testDigest('00') } }])
})

test('Ctrl-C at the question starts nothing', async () => {
  await onTerminal(['rollback', 'hello/prod'])
  await shows(/Roll back to\?/)
  await press('C-c')
  await shows(/exit: 130/)
  expect(ports.state.started).toEqual([])
})

test('a promotion to the last environment shows what changes, and asks', async () => {
  await onTerminal(['promote', 'hello/prod', 'a1a1a1'])
  await shows(/promote hello\/prod\?/)
  const seen = await screen()
  expect(seen).toMatch(/from {2}b2b2b2b2b2b2 {2}b2c0ffee0000 {2}second commit/)
  expect(seen).toMatch(/to {4}a1a1a1a1a1a1 {2}a1c0ffee0000 {2}subject of a1/)
  expect(seen).toContain('Not undone by this: data')
  await press('n')
  await shows(/nothing was started[^]*exit: 1/)
  expect(ports.state.started).toEqual([])
})

test.each([
  ['to another environment', ['promote', 'hello/test', 'a1a1a1']],
  ['with --yes', ['promote', 'hello/prod', 'a1a1a1', '--yes']],
])('a promotion %s asks nothing', async (_what, args) => {
  await onTerminal(args)
  await shows(/exit: 0/)
  expect(ports.state.started).toHaveLength(1)
})

test('the tree fits the screen, has its header, and Ctrl-C leaves the work running', async () => {
  const step = { startedAt: null, endedAt: null, attempt: 1, detail: 'x'.repeat(300) }
  const steps = Array.from({ length: 60 }, (_none, at) => ({
    ...step,
    name: `step ${at}`,
    state: 'done' as const,
  }))
  ports.state.script = [{ state: 'running', steps, result: { digest: testDigest('a1') } }]
  await onTerminal(['promote', 'hello/prod', 'a1a1a1', '--yes'])
  await shows(/step 59/)
  const lines = (await screen()).trimEnd().split('\n')
  expect(lines[0]).toContain('promotion hello/prod a1a1a1a1a1a1')
  expect(lines[1]).toMatch(/… \d+ steps before/)
  expect(lines.length).toBeLessThanOrEqual(24)
  await press('C-c')
  await shows(/the work goes on[^]*kiln follow promotion\.[^]*exit: 130/)
})

test('NO_COLOR leaves no colour on a terminal', async () => {
  await onTerminal(['promote', 'hello/prod', 'a1a1a1', '--yes'], { NO_COLOR: '1' })
  await shows(/exit: 0/)
  expect((await tmux('capture-pane', '-p', '-e', '-t', 'kiln')).stdout).not.toContain('\u001B[')
})

test('with colours there are some', async () => {
  await onTerminal(['promote', 'hello/prod', 'a1a1a1', '--yes'])
  await shows(/exit: 0/)
  expect((await tmux('capture-pane', '-p', '-e', '-t', 'kiln')).stdout).toContain('\u001B[')
})
