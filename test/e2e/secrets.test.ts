import { execa } from 'execa'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { changeGreeting, type Repository } from '../../scripts/demo/repository.ts'
import type { Client } from '../../src/api/client.ts'
import { testTemplates } from '../helpers/templates.ts'
import { here, run, work, type Ran } from './command.ts'
import { commitFile, delivered, eventually, kilnAtHand, type KilnAtHand } from './kiln-at-hand.ts'
import { changesOf, containersOf, onRecord } from './record.ts'
import { everyRoute, type Contents } from './every-route.ts'
import { engine, histories, processes, sqlDump, statements } from './secret-places.ts'
import {
  bytesBelow,
  formsOf,
  foundIn,
  homeWithout,
  ownSecrets,
  searchPlaces,
  type Secret,
} from './secret-search.ts'

/** One secret for each place that may hold one, planted before anything runs. */
const planted = {
  'secret file': canary(),
  'secret variable': canary(),
  'rotated secret': canary(),
  'repository password': canary(),
  'config lookalike': canary(),
  'reference lookalike': canary(),
  npmrc: canary(),
  'docker config': canary(),
  netrc: canary(),
  'git token': canary(),
  'webhook secret': canary(),
  'status token': canary(),
  'request token': canary(),
  'backup passphrase': canary(),
  'passphrase variable': canary(),
}
/** What is no secret, and is put where each search must find it. */
const control = `control-${crypto.randomUUID()}`
const said: Ran[] = []

let kiln: KilnAtHand
/** The home of the person who starts Kiln. */
let person: string
let api: Client
let repository: Repository
let good: string
let backup: string

function canary(): string {
  return `Kn7${crypto.randomUUID().replaceAll('-', '')}x`
}

/** A command, whose whole output is kept for the search. */
async function says(...args: string[]): Promise<Ran> {
  const ran = await here(kiln, ...args)
  said.push(ran)
  return ran
}

beforeAll(async () => {
  person = await mkdtemp(join(tmpdir(), 'kiln-person-'))
  kiln = await kilnAtHand({
    HOME: person,
    KILN_SECRET_UPSTREAM: planted['secret variable'],
    BACKUP_WORDS: planted['passphrase variable'],
    // Any setting: the control of the search over processes.
    KILN_PUBLIC_ADDRESS: `http://${control}.example`,
  })
  for (const [name, text] of Object.entries(planted)) kiln.plant(name, text)
  backup = join(kiln.folder, 'backup')
  await plantInHome()
  const secrets = join(kiln.home, 'secrets')
  await writeFile(join(secrets, 'db-password'), planted['secret file'], { mode: 0o600 })
  await kiln.up()
  api = await kiln.api()
  repository = await kiln.repository()
  const text = await readFile(join(repository.path, 'kiln.yaml'), 'utf8')
  await changeGreeting(repository, control)
  const references = "    secrets: { DB_PASSWORD: 'file:db-password', TOKEN: 'env:UPSTREAM' }\n"
  await writeFile(join(repository.path, 'server.js'), await serverThatKnows(repository.path))
  good = text.replaceAll('    config:', `${references}    config:`)
  const commit = await commitFile(repository, 'kiln.yaml', good)
  await delivered(api, repository, commit)
  await eventually('dev serves it', 120, async () => {
    const { open, outcome, active } = await api.environment({
      params: { app: 'hello', environment: 'dev' },
    })
    if (outcome?.failure) throw new Error(outcome.failure.message)
    return open === null && active !== null ? true : undefined
  })
}, 240_000)

afterAll(async () => {
  await kiln.remove({ isDown: true })
  await rm(person, { recursive: true, force: true })
}, 120_000)

/** What programs that Kiln starts would read of a person's own, beside what they need of it. */
async function plantInHome(): Promise<void> {
  const npmrc = await readFile(join(homedir(), '.npmrc'), 'utf8').catch(() => '')
  await writeFile(join(person, '.npmrc'), `${npmrc}\n//npm.example/:_authToken=${planted.npmrc}\n`)
  await mkdir(join(person, '.docker'))
  const auths = { 'registry.example': { auth: btoa(`user:${planted['docker config']}`) } }
  await writeFile(join(person, '.docker/config.json'), JSON.stringify({ auths }))
  await writeFile(
    join(person, '.netrc'),
    `machine git.example login user password ${planted.netrc}\n`,
  )
}

/** The example, which also answers with a hash of what it was given: the value itself is nobody's business. */
async function serverThatKnows(folder: string): Promise<string> {
  const text = await readFile(join(folder, 'server.js'), 'utf8')
  return text
    .replace(
      'import { createServer }',
      "import { createHash } from 'node:crypto'\nimport { createServer }",
    )
    .replace(
      'send(response, 200, { message, version,',
      "send(response, 200, { given: ['DB_PASSWORD', 'TOKEN'].map((name) => createHash('sha256')" +
        ".update(readFileSync('/run/secrets/' + name)).digest('hex')), message, version,",
    )
}

async function given(environment: string): Promise<string[]> {
  const { items } = await api.environments({})
  const address = items.find((one) => one.name === environment)?.address ?? ''
  return ((await (await fetch(address)).json()) as { given: string[] }).given
}

async function hashes(...values: string[]): Promise<string[]> {
  return Promise.all(
    values.map(async (value) =>
      Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(value))).toString('hex'),
    ),
  )
}

test('the app has the values that the host has, and people see only references', async () => {
  expect(await given('hello/dev')).toEqual(
    await hashes(planted['secret file'], planted['secret variable']),
  )
  const { stdout } = await says('secret', 'list', 'hello/dev', '--json')
  expect(JSON.parse(stdout)).toMatchObject({
    items: [
      { name: 'DB_PASSWORD', reference: 'file:db-password', resolves: true },
      { name: 'TOKEN', reference: 'env:UPSTREAM', resolves: true },
    ],
  })
})

test('rotation is a change on record, under the same key, that replaces every instance', async () => {
  const before = await containersOf(kiln)
  await writeFile(join(kiln.home, 'secrets/db-password'), planted['rotated secret'])
  expect(await given('hello/dev')).toContain((await hashes(planted['secret file']))[0])
  const { exitCode, operation } = await work(
    kiln,
    'secret',
    'rotate',
    'hello/dev',
    '--reason',
    control,
  )
  expect([exitCode, operation.kind, operation.state]).toEqual([0, 'rotation', 'succeeded'])
  expect(await given('hello/dev')).toEqual(
    await hashes(planted['rotated secret'], planted['secret variable']),
  )
  const ids = (await containersOf(kiln)).map((one) => one.id)
  expect(before.filter((one) => ids.includes(one.id))).toEqual([])
  const last = (await changesOf(kiln, 'hello/dev')).at(-1)
  expect(last?.map((fact) => fact.kind)).toEqual(['change', 'activation'])
  expect(last?.[0]?.body).toMatchObject({ changeKind: 'rotation', reason: control })
})

test('a secret that is gone fails the change, and what served before serves on', async () => {
  const path = join(kiln.home, 'secrets/db-password')
  await execa('mv', [path, `${path}.away`])
  const { exitCode, operation } = await work(kiln, 'secret', 'rotate', 'hello/dev')
  expect([exitCode, operation.state]).toEqual([3, 'failed'])
  expect(operation.failure).toMatchObject({
    code: 'secret_unavailable',
    place: 'file:db-password',
    message: expect.stringContaining('db-password is not there'),
  })
  const listed = await says('secret', 'list', 'hello/dev')
  expect(listed.stdout).toMatch(/^DB_PASSWORD\tfile:db-password\tno\t.*is not there/m)
  expect(await given('hello/dev')).toHaveLength(2)
  await execa('mv', [`${path}.away`, path])
})

test('what a person wrote in the wrong place is refused, and repeated nowhere', async () => {
  const address = `https://user:${planted['repository password']}@git.example/team/app`
  expect((await says('build', `${address}@main`)).exitCode).toBe(2)
  expect((await says('watch', address, '--json')).exitCode).toBe(2)
  for (const line of [
    `    config: { DB_PASSWORD: ${planted['config lookalike']} }`,
    `    secrets: { DB_PASSWORD: ${planted['reference lookalike']} }`,
  ]) {
    const head = 'version: 1\napp: hello\ntemplate: node-service\nenvironments:\n  - name: dev\n'
    const commit = await commitFile(repository, 'kiln.yaml', `${head}${line}\n`)
    const { stderr } = await says('build', `${repository.path}@${commit}`)
    expect(stderr).toContain('kiln: invalid_yaml: ')
  }
  const wrong = await fetch(`${await kiln.address()}/api/v1/status`, {
    headers: { authorization: `Bearer ${planted['request token']}` },
  })
  expect(wrong.status).toBe(401)
  await commitFile(repository, 'kiln.yaml', good)
})

test('what a repository is asked with is named by its files, and its content said nowhere', async () => {
  const address = 'https://git.invalid/team/app'
  const added = await says(
    'repository',
    'add',
    address,
    '--forge',
    'github',
    '--token-file',
    await fileOf('git token'),
    '--webhook-secret-file',
    await fileOf('webhook secret'),
    '--status-token-file',
    await fileOf('status token'),
  )
  expect(added).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('git-token') })
  expect((await says('repository', 'list', '--json')).stdout).toContain('git-token')
  expect((await says('repository', 'check', address)).exitCode).not.toBe(0)
})

test('a backup is opened by its passphrase, which is nowhere but in its own file and variable', async () => {
  // What the templates locked is the most of it, and was there before: as if an earlier backup had it.
  await mkdir(join(backup, 'store'), { recursive: true, mode: 0o700 })
  const { storeRoot } = await testTemplates()
  await execa('cp', ['-al', join(storeRoot, 'blobs'), join(backup, 'store')])
  const file = await fileOf('backup passphrase')
  expect(await says('backup', backup, '--passphrase-file', file)).toMatchObject({ exitCode: 0 })
  // Another passphrase, from a variable: what was asked with, and did not open it, is said nowhere either.
  const elsewhere = { ...kiln, home: join(kiln.folder, 'restored') }
  const wrong = await run(elsewhere, 'restore', backup, '--passphrase-env', 'BACKUP_WORDS')
  said.push(wrong)
  expect(wrong).toMatchObject({ exitCode: 8, stderr: expect.stringContaining('do not open') })
})

test('every place is searched: no secret is in any, the control is found in each, and one that lies anywhere in the home', async () => {
  expect((await work(kiln, 'promote', 'hello/test', '--reason', control)).exitCode).toBe(0)
  await says('history', 'hello/test')
  await says('operations', `change.hello.dev.${control}`)
  const secrets = [
    ...(await ownSecrets(kiln.home)),
    ...Object.entries(planted).flatMap(([name, text]) => formsOf(name, text)),
  ]
  const running: [string, Contents][] = [
    ['routes and errors', everyRoute(kiln, await known())],
    ['histories', histories(kiln)],
    ['engine', engine(kiln)],
    ['statements', statements(kiln)],
    ['command line', printed()],
    ['backup', bytesBelow(backup)],
  ]
  const found = new Map<string, Found>()
  for (const [place, contents] of running) found.set(place, await search(contents, secrets))
  // The host's worker, and who starts it, have what the administrator gave as a variable.
  const ofOthers = secrets.filter(({ name }) => !name.startsWith('secret variable'))
  found.set('processes', await search(processes(kiln), ofOthers))
  await kiln.down()
  const stopped: [string, Contents][] = [
    ['SQL', sqlDump(kiln)],
    ...(['logs', 'store/blobs', 'store/bundles', 'temporal', 'index'] as const).map(
      (folder): [string, Contents] => [folder, bytesBelow(join(kiln.home, folder))],
    ),
  ]
  for (const [place, contents] of stopped) found.set(place, await search(contents, secrets))
  const places = [...found.keys()]
  expect(Object.fromEntries(found)).toEqual(
    Object.fromEntries(places.map((place) => [place, { leaks: [], control: true }])),
  )
  expect(places).toHaveLength(13)
}, 180_000)

/** A text that does not stand in its compressed bytes: it is put together of what stood there before. */
function asMatches(text: string): string {
  return `${`${text.slice(0, 18)} ${text.slice(18)} `.repeat(3)}${text}`
}

/** Each of the forms and places in which every Kiln of these tests is searched when it is taken away. */
test.each<[string, (text: string) => Buffer, string]>([
  ['as it is', (text) => Buffer.from(`password=${text}\n`), ''],
  ['as hex', (text) => Buffer.from(Buffer.from(text).toString('hex')), ' as hex'],
  ['in an envelope', (text) => Buffer.from(btoa(`{"x":"${text}"}`)), ' as base64'],
  ['in a layer of gzip', (text) => gzipSync(asMatches(text)), ''],
  ['in a layer of zstd', (text) => zstdCompressSync(asMatches(text)), ''],
])('a secret that was left in a file of the home is found %s', async (_form, written, told) => {
  const path = join(kiln.home, 'work', 'left-over')
  await mkdir(join(kiln.home, 'work'), { recursive: true })
  await writeFile(path, written(planted['secret file']))
  const wanted = {
    secrets: formsOf('secret file', planted['secret file']),
    control: [kiln.home],
    scratch: join(kiln.folder, 'search'),
    isOthers: () => false,
  }
  const places = [
    { name: 'home', paths: await homeWithout(kiln.home, ['store', 'index']) },
    { name: 'an empty place', paths: [join(kiln.home, 'nowhere')] },
  ]
  const found = await searchPlaces(places, wanted).finally(() => rm(path))
  expect(found).toEqual([`secret file${told} in ${path}`, 'no control in an empty place'])
})

async function fileOf(name: keyof typeof planted): Promise<string> {
  const path = join(person, name.replace(' ', '-'))
  await writeFile(path, planted[name], { mode: 0o600 })
  return path
}

type Found = { leaks: string[]; control: boolean }

async function search(contents: Contents, secrets: readonly Secret[]): Promise<Found> {
  const leaks = new Set<string>()
  let seen = false
  for await (const bytes of contents) {
    seen ||= holdsControl(bytes)
    for (const name of foundIn(bytes, secrets)) leaks.add(name)
  }
  return { leaks: [...leaks], control: seen }
}

/** As it is, or inside a signed envelope, whose payload is in base64: one of three alignments. */
function holdsControl(bytes: Buffer): boolean {
  const encoded = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), Buffer.from(control)])
      .toString('base64')
      .slice(shift === 0 ? 0 : 4, -4),
  )
  return [control, ...encoded].some((text) => bytes.includes(text))
}

async function* printed(): Contents {
  for (const ran of said) yield Buffer.from(JSON.stringify(ran))
}

/** Values of the routes' parameters: what is there, and the control, which is not. */
async function known(): Promise<Record<string, string[]>> {
  const { items } = await api.operations({ query: {} })
  const { of } = await onRecord(kiln)
  return {
    id: [...items.map((one) => one.id), ...of('sealed').map((one) => one.body.build), control],
    app: ['hello'],
    environment: ['dev', 'test', 'prod'],
    digest: of('sealed').map((one) => String(one.artifact)),
    sequence: ['1', '2'],
    '*': ['0/000', 'entries/000'],
  }
}
