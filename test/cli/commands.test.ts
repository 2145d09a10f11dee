import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Cli } from '../../src/cli/context.ts'
import { createOutput } from '../../src/cli/output.ts'
import { createProgram } from '../../src/cli/program.ts'
import { jsonLines, kiln, kilnForEach, kilnHere } from '../helpers/cli.ts'
import { memoryPorts, secret, startTestApi, testDigest, testTarget } from '../helpers/api-ports.ts'

/** Arguments with which each command does something; a command without a row here fails a test. */
const examples: Record<string, readonly string[]> = {
  up: [],
  down: [],
  status: [],
  doctor: [],
  'template list': [],
  'template show': ['node-service'],
  'template lock': ['node-service'],
  'template check': ['node-service'],
  build: ['/srv/hello@main'],
  rebuild: ['a1a1a1'],
  watch: ['/srv/hello'],
  'watch list': [],
  'watch remove': ['watch.1'],
  'webhook list': [],
  'repository add': ['https://git.example.org/acme/shop.git', '--token-file', '/etc/kiln/token'],
  'repository list': [],
  'repository remove': ['https://git.example.org/acme/shop.git'],
  'repository check': ['https://git.example.org/acme/shop.git'],
  environments: [],
  promote: ['hello/prod', 'a1a1a1'],
  rollback: ['hello/prod', '--previous'],
  rehearse: ['hello/prod'],
  release: ['hello/prod'],
  revoke: ['a1a1a1', '--reason', 'the key leaked'],
  scale: ['hello/prod', '3'],
  prune: ['--dry-run'],
  gc: [],
  scan: ['hello/prod'],
  'break-glass': ['kiln.hello.prod.3.1', '--reason', 'it hangs'],
  guard: [],
  'secret list': ['hello/prod'],
  'secret rotate': ['hello/prod'],
  history: ['hello/prod'],
  logs: ['hello/prod'],
  operations: [],
  follow: ['promotion.known'],
  cancel: ['promotion.known'],
  'signing list': [],
  'signing rotate': ['promote'],
  'signing encrypt': [],
  verify: ['hello/prod'],
  evidence: ['hello/prod'],
  fsck: [],
  monitor: [],
  reindex: [],
  backup: ['/mnt/backup', '--without-keys'],
  restore: ['/mnt/backup', '--without-keys'],
}

const noCli: Cli = {
  io: { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr },
  env: {},
  folder: '/',
  version: '0.0.0',
  now: () => new Date(0),
  onInterrupt: () => () => undefined,
  connect: () => Promise.reject(new Error('nobody may connect here')),
  local: () => Promise.reject(new Error('nothing local may run here')),
}

function walk(command: Command, path: readonly string[] = []): { path: string[]; acts: boolean }[] {
  return command.commands.flatMap((one) => {
    const here = [...path, one.name()]
    const acts = one.options.some(({ long }) => long === '--json')
    return [{ path: here, acts }, ...walk(one, here)]
  })
}

const commands = walk(createProgram(noCli, createOutput(noCli.io, {}), () => undefined))
const acting = commands.filter(({ acts }) => acts).map(({ path }) => path.join(' '))

let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>
let empty: string
let env: Record<string, string>

beforeAll(async () => {
  empty = await mkdtemp(join(tmpdir(), 'kiln-cli-'))
  ports = memoryPorts()
  ports.state.targets = [testTarget('a1', 1)]
  api = await startTestApi(ports)
  env = { KILN_ADDRESS: api.address, KILN_TOKEN: secret }
  const asked = { principal: { name: 'local', kind: 'token' }, id: 'known' } as const
  await ports.operations.promote(asked, {
    environment: 'hello/prod',
    digest: testDigest('a1'),
    reason: 'x',
  })
})
afterAll(async () => {
  await api.app.close()
  await rm(empty, { recursive: true })
})

test('every command that does something has an example here', () => {
  expect(acting.toSorted()).toEqual(Object.keys(examples).toSorted())
})

const preload = fileURLToPath(new URL('../fixtures/cli/no-sockets.mjs', import.meta.url))
const withHelp = (command: string) => [...command.split(' ').filter((one) => one !== ''), '--help']
const all = ['', ...commands.map(({ path }) => path.join(' '))]

describe('help, all of it in one process', () => {
  let said: Awaited<ReturnType<typeof kilnForEach>>
  beforeAll(async () => {
    said = await kilnForEach(all.map(withHelp), {
      env: { HOME: empty },
      folder: empty,
      nodeOptions: ['--import', preload],
    })
  })

  test.each(all)(
    'kiln %s --help needs no server, opens no socket and writes nothing',
    (command) => {
      const { code, stdout, stderr, files } = said[all.indexOf(command)] ?? {}
      expect(stderr).toBe('')
      expect(code).toBe(0)
      expect(stdout).toContain(`Usage: kiln${command === '' ? '' : ` ${command}`}`)
      expect(files).toEqual([])
    },
  )
})

test.each(['', 'promote'])('kiln %s --help by itself', async (command) => {
  const { code, stdout, stderr } = await kiln(withHelp(command), {
    env: { HOME: empty },
    folder: empty,
    nodeOptions: ['--import', preload],
  })
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout).toContain(`Usage: kiln${command === '' ? '' : ` ${command}`}`)
  expect(await readdir(empty)).toEqual([])
})

test('the watch for sockets sees one', async () => {
  const lines = [['--help'], ['environments'], ['--help']]
  const said = await kilnForEach(lines, { env, nodeOptions: ['--import', preload] })
  expect(said.map(({ code }) => code)).toEqual([99, 99])
  expect(said[1]?.stderr).toContain('a socket')
})

const withJson = (command: string) => [
  ...command.split(' '),
  ...(examples[command] ?? []),
  '--json',
]

function expectJson({ code, stdout, stderr }: Awaited<ReturnType<typeof kiln>>): void {
  expect(stderr).not.toContain('kiln: ')
  expect(code).toBe(0)
  const documents = jsonLines(stdout)
  expect(documents.length).toBeGreaterThan(0)
  for (const document of documents) {
    expect(Object.keys(document)[0]).toBe('version')
    expect(document['version']).toBe(1)
  }
}

describe('--json, all of it in one process', () => {
  let said: Awaited<ReturnType<typeof kilnForEach>>
  beforeAll(async () => {
    said = await kilnForEach(acting.map(withJson), { env, program: 'fake-machine' })
  })

  test.each(acting)('kiln %s --json prints nothing but JSON, its version first', (command) => {
    const one = said[acting.indexOf(command)]
    expect(one).toBeDefined()
    expectJson(one!)
  })
})

test.each(['promote', 'follow'])('kiln %s --json by itself', async (command) => {
  const said = await kiln(withJson(command), { env, program: 'fake-machine' })
  expect(said.stdout).not.toBe('')
  expectJson(said)
})

test.each(acting)('kiln %s, piped, has no escape sequence in it', async (command) => {
  const args = [...command.split(' '), ...(examples[command] ?? [])]
  const { code, stdout, stderr } = await kilnHere(args, { connection: api })
  expect(`${stdout}${stderr}`).not.toContain('\u001B')
  expect(code).toBe(0)
})

test.each(acting)('kiln %s --json says an error as JSON too', async (command) => {
  const args = [...command.split(' '), ...(examples[command] ?? []), '--json']
  const connection = { address: 'http://127.0.0.1:1', token: secret }
  const { code, stdout } = await kilnHere(args, { connection, broken: true })
  expect(jsonLines(stdout)[0]?.['version']).toBe(1)
  const unharmed = [
    'up',
    'down',
    'template list',
    'template show',
    'template lock',
    'reindex',
  ].concat(['backup', 'restore', 'prune', 'signing encrypt'])
  expect(code === 0).toBe(unharmed.includes(command))
})

test.each(['up', 'status'])(
  'kiln %s says that nothing begins on a full disk, and what to do',
  async (verb) => {
    const connection = { address: 'http://127.0.0.1:1', token: secret }
    const { code, stdout, stderr } = await kilnHere([verb], { connection, broken: true })
    expect(stderr).toMatch(
      /^ALARM low disk: 1 GiB are free at \/srv\/.kiln.*\n.*what runs goes on\n {2}next: free 1 GiB: kiln prune$/m,
    )
    expect(stdout).not.toContain('ALARM')
    expect(code).toBe(verb === 'up' ? 0 : 3)
    const roomy = await kilnHere([verb], { connection })
    expect(roomy.stderr).not.toContain('low disk')
  },
)

test('kiln status says what the guard refused, as one line each', async () => {
  const connection = { address: 'http://127.0.0.1:1', token: secret }
  const { stderr } = await kilnHere(['status'], { connection, broken: true })
  expect(stderr).toMatch(
    /^ {2}refused 21 since 2026-11-01; .*\n {2}2026-11-28T03:00:00.000Z somebody by Docker-Client\/20.10.24 \(linux\): kiln.hello.prod.3.1 is an instance of hello\/prod: no exec/m,
  )
  expect((await kilnHere(['status'], { connection })).stderr).not.toContain('refused')
  const { stdout } = await kilnHere(['status', '--json'], { connection, broken: true })
  expect(JSON.parse(stdout)).toMatchObject({
    refusals: { total: 21, newest: [{ rule: 'into-instance', container: 'kiln.hello.prod.3.1' }] },
  })
})
