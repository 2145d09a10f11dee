import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { gitServer, type GitServer } from '../helpers/git-server.ts'
import { childEnv, kiln, kilnHere } from '../helpers/cli.ts'
import { createLocalVerbs } from '../../src/main/local.ts'
import { makeRepository } from '../source/git-at-hand.ts'

const token = 'tok3n-of-the-command-line'
let folder: string
let home: string
let server: GitServer
let address: string
let env: Record<string, string>
let commit: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-repository-'))
  home = join(folder, 'home')
  commit = await makeRepository(join(folder, 'shop'))
  server = await gitServer({
    repositories: folder,
    folder,
    host: '127.0.0.1',
    password: () => token,
  })
  address = `https://127.0.0.1:${server.port}/shop/.git`
  env = { KILN_HOME: home, KILN_GIT_HOSTS: '127.0.0.1', GIT_SSL_CAINFO: server.certificate }
  await mkdir(home)
  for (const [name, text] of [
    ['token', `${token}\n`],
    ['short', 'too-short\n'],
    ['open', `${token}\n`],
  ] as const)
    await writeFile(join(folder, name), text, { mode: 0o600 })
  await chmod(join(folder, 'open'), 0o644)
})
afterAll(async () => {
  await server.close()
  await rm(folder, { recursive: true, force: true })
})

const at = (name: string) => join(folder, name)

/** The same program in this process; no server is asked for any of this. */
const here = (...args: string[]) =>
  kilnHere(['repository', ...args], {
    connection: { address: 'http://127.0.0.1:1', token: '' },
    local: async () => createLocalVerbs({ home, env: childEnv(env) }),
  })

test('a private repository is refused, then added by its token file, checked, listed and removed', async () => {
  const before = await here('check', address)
  expect(before.code).toBe(2)
  expect(before.stderr).toContain('invalid_repository')
  const added = await kiln(['repository', 'add', address, '--token-file', at('token'), '--json'], {
    env,
  })
  expect(JSON.parse(added.stdout)).toMatchObject({
    version: 1,
    replaced: false,
    repository: { address, access: 'token', files: [at('token')], webhook: false },
  })
  expect((await stat(join(home, 'repositories.yaml'))).mode & 0o777).toBe(0o600)
  expect(await readFile(join(home, 'repositories.yaml'), 'utf8')).not.toContain(token)
  const checked = await kiln(['repository', 'check', address], { env })
  expect(checked.stdout).toBe(`main\t${commit}\n`)
  const listed = await here('list')
  expect(listed.stdout).toContain(`${address}\ttoken`)
  expect(`${added.stdout}${added.stderr}${listed.stdout}${listed.stderr}`).not.toContain(token)
  expect((await here('remove', address)).stdout).toBe(`${address}\n`)
  expect((await here('check', address)).code).toBe(2)
  expect((await here('remove', address)).code).toBe(2)
})

test.each([
  ['a file that is missing', ['--token-file', '/no/such/file'], 3, 'cannot be read'],
  ['a file that everybody may read', ['--token-file', 'open'], 3, 'read by everybody'],
  ['a key for an https address', ['--ssh-key-file', 'token', '--known-hosts-file', 'token'], 2, ''],
  ['a key without known hosts', ['--ssh-key-file', 'token'], 2, 'together'],
  ['a webhook without its forge', ['--webhook-secret-file', 'token'], 2, 'which forge'],
  [
    'a webhook secret that can be guessed',
    ['--forge', 'gitea', '--webhook-secret-file', 'short'],
    2,
    '16 characters',
  ],
])('adding %s is refused, and nothing is written', async (...[, given, code, says]) => {
  const before = await readFile(join(home, 'repositories.yaml'), 'utf8').catch(() => 'none')
  const args = given.map((one) => (['open', 'token', 'short'].includes(one) ? at(one) : one))
  const told = await here('add', address, ...args)
  expect(told.code).toBe(code)
  expect(told.stderr).toContain(says)
  expect(told.stderr).not.toContain(token)
  expect(await readFile(join(home, 'repositories.yaml'), 'utf8').catch(() => 'none')).toBe(before)
})

test('a file that people broke is told by its line, and changes nothing', async () => {
  const broken = 'version: 1\nrepositories:\n  - address: https://x.example.org/a\n    tokn: x\n'
  await writeFile(join(home, 'repositories.yaml'), broken)
  const told = await here('add', address, '--token-file', at('token'))
  expect(told.code).toBe(2)
  expect(told.stderr).toContain('repositories.yaml:4:5')
  expect(await readFile(join(home, 'repositories.yaml'), 'utf8')).toBe(broken)
})
