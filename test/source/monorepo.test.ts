import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { decodeName } from '../../src/oci/entry-name.ts'
import { readTar } from '../../src/oci/tar-reader.ts'
import { openBlob } from '../../src/oci/read-image.ts'
import { appTree } from '../../src/source/app-tree.ts'
import { parseRoot } from '../../src/source/monorepo.ts'
import type { FoundApps, FoundSource } from '../../src/source/read-source.ts'
import { commitFiles, gitAtHand, makeRepository, person, type GitAtHand } from './git-at-hand.ts'

let hand: GitAtHand

/** For those who only read it. */
let plain: string
/** For those who change it one after the other, each by what it was before. */
let edited: string

beforeAll(async () => {
  hand = await gitAtHand()
  plain = await repositoryOf('plain')
  edited = await repositoryOf('edited')
})
afterAll(() => hand.close())

const appYaml = (name: string) =>
  `version: 1\napp: ${name}\ntemplate: node-service\nenvironments:\n  - name: dev\n`

const rootYaml = `version: 1
apps:
  - path: services/shop
    changes: [docs/api/**]
    include:
      - { from: packages/shared, to: node_modules/@acme/shared }
  - path: services/mail
`

const files = {
  'kiln.yaml': rootYaml,
  'README.md': 'read me',
  'docs/api/orders.md': 'orders',
  'packages/shared/index.js': 'export const shared = 1',
  'services/mail/kiln.yaml': appYaml('mail'),
  'services/mail/server.js': 'mail',
  'services/shop/kiln.yaml': appYaml('shop'),
  'services/shop/server.js': 'shop',
}

async function repositoryOf(name: string, more: Readonly<Record<string, string>> = {}) {
  const repository = join(hand.repositories, name)
  await makeRepository(repository, { ...files, ...more })
  return repository
}

async function root(repository: string): Promise<FoundApps> {
  const found = await hand.resolve({ repository, revision: 'main' })
  if (!('apps' in found)) throw new Error('the repository is one app')
  return found
}

function app(repository: string, path: string, revision = 'main'): Promise<FoundSource> {
  return hand.activities.resolveSource({ repository, revision, path })
}

async function namesIn({ context }: FoundSource): Promise<string[]> {
  const names: string[] = []
  for await (const { entry } of readTar(await openBlob(hand.store, context)))
    if (entry.type === 'file') names.push(decodeName(entry.name) ?? '')
  return names
}

test('the top of a repository says which apps are in it', async () => {
  const found = await root(plain)
  expect(found.apps).toEqual([
    { path: 'services/shop', app: 'shop', fault: null },
    { path: 'services/mail', app: 'mail', fault: null },
  ])
  expect(found.commit).toMatch(/^[0-9a-f]{40}$/)
})

test('an app’s context is its folder, and what it includes at its place', async () => {
  const shop = await app(plain, 'services/shop')
  expect(shop.app).toBe('shop')
  expect(shop.source).toMatchObject({ path: 'services/shop' })
  expect(await namesIn(shop)).toEqual([
    'kiln.yaml',
    'node_modules/@acme/shared/index.js',
    'server.js',
  ])
  expect(await namesIn(await app(plain, 'services/mail'))).toEqual(['kiln.yaml', 'server.js'])
})

test.each([
  ['its own file', 'services/shop/server.js', ['shop']],
  ['a file that it includes', 'packages/shared/index.js', ['shop']],
  ['a file that its filter names', 'docs/api/orders.md', ['shop']],
  ['the other app’s file', 'services/mail/server.js', ['mail']],
  ['a file of nobody', 'README.md', []],
])('%s changes the content of those that it belongs to', async (_what, file, changed) => {
  const contents = async () => ({
    shop: (await app(edited, 'services/shop')).source.content,
    mail: (await app(edited, 'services/mail')).source.content,
  })
  const before = await contents()
  await commitFiles(edited, { [file]: 'another' })
  const after = await contents()
  const differing = (['shop', 'mail'] as const).filter((name) => before[name] !== after[name])
  expect(differing).toEqual(changed)
})

test('a file that becomes executable changes its app', async () => {
  const before = (await app(edited, 'services/shop')).source.content
  await person(edited, 'update-index', '--chmod=+x', 'services/shop/server.js')
  await person(edited, 'commit', '--quiet', '--message', 'mode')
  expect((await app(edited, 'services/shop')).source.content).not.toBe(before)
})

test('an app whose kiln.yaml cannot be read is named with its fault, and the others are there', async () => {
  const repository = await repositoryOf('fault', {
    'services/shop/kiln.yaml': appYaml('shop').replace('template', 'templates'),
  })
  const [shop, mail] = (await root(repository)).apps
  expect(shop).toMatchObject({
    app: null,
    fault: { code: 'invalid_yaml', place: 'services/shop/kiln.yaml:1:1' },
  })
  expect(mail).toMatchObject({ app: 'mail', fault: null })
})

test('one name twice is refused with both places', async () => {
  const repository = await repositoryOf('twice', { 'services/mail/kiln.yaml': appYaml('shop') })
  await expect(root(repository)).rejects.toMatchObject({
    code: 'invalid_yaml',
    message: 'two apps are called shop: services/shop and services/mail',
  })
})

test('a folder that is a link is no app', async () => {
  const repository = await repositoryOf('linked', {
    'kiln.yaml': 'version: 1\napps:\n  - path: services/alias\n',
  })
  await symlink('shop', join(repository, 'services/alias'))
  await commitFiles(repository, {})
  expect((await root(repository)).apps[0]).toMatchObject({ app: null })
  await expect(app(repository, 'services/alias')).rejects.toMatchObject({ code: 'invalid_yaml' })
})

test('a link that leads out of the app’s folder is refused', async () => {
  const repository = await repositoryOf('out')
  await symlink('../../packages/shared', join(repository, 'services/mail/shared'))
  await commitFiles(repository, {})
  await expect(app(repository, 'services/mail')).rejects.toMatchObject({ code: 'invalid_archive' })
})

test('a path that the file does not name is not found, with those that it names', async () => {
  await expect(app(plain, 'packages/shared')).rejects.toMatchObject({
    code: 'not_found',
    fix: 'there are: services/shop, services/mail',
  })
})

const one = (text: string) => `version: 1\napps:\n${text}`

test.each([
  ['no app', 'version: 1\napps: []\n', 'at least one'],
  ['an app and apps', `${appYaml('a')}apps: []\n`, 'unknown key "app"'],
  ['a way out', one('  - path: ../other\n'), 'plain path'],
  ['a way out in the middle', one('  - path: a/../b\n'), 'plain path'],
  ['an absolute path', one('  - path: /srv\n'), 'plain path'],
  ['the top itself', one('  - path: .\n'), 'plain path'],
  ['a hidden folder', one('  - path: .github\n'), 'plain path'],
  ['one folder twice', one('  - path: a\n  - path: a\n'), 'lie in each other'],
  ['a folder in a folder', one('  - path: a/b\n  - path: a\n'), 'lie in each other'],
  ['an unknown key', one('  - path: a\n    change: [b]\n'), 'did you mean changes?'],
  ['a filter with a way out', one('  - path: a\n    changes: [../b]\n'), 'must not hold'],
  ['a filter of many stars', one('  - path: a\n    changes: ["*a*b*c*"]\n'), 'at most two'],
  ['a filter of many **', one('  - path: a\n    changes: ["**/a/**/b/**"]\n'), 'at most two'],
  [
    'an app that includes itself',
    one('  - path: a/b\n    include: [{ from: a, to: x }]\n'),
    'the app itself',
  ],
  [
    'two folders at one place',
    one('  - path: a\n    include: [{ from: b, to: x }, { from: c, to: x/y }]\n'),
    'two folders are put at x/y',
  ],
  [
    'another kiln.yaml',
    one('  - path: a\n    include: [{ from: b, to: kiln.yaml }]\n'),
    'the app’s own',
  ],
])('%s is refused with its place', (_what, text, message) => {
  expect(() => parseRoot(Buffer.from(text))).toThrow(
    expect.objectContaining({
      code: 'invalid_yaml',
      place: expect.stringMatching(/^kiln\.yaml:\d+:\d+$/) as string,
      message: expect.stringContaining(message) as string,
    }),
  )
})

const tree = Object.keys(files).map((path) => ({
  path,
  kind: 'file' as const,
  object: path,
  size: 1,
}))
const shop = { path: 'services/shop', changes: [] as string[], include: [] }

test.each([
  ['docs/api/**', ['docs/api/orders.md']],
  ['docs', ['docs/api/orders.md']],
  ['README.md', ['README.md']],
  ['**/*.md', ['README.md', 'docs/api/orders.md']],
  ['*.md', ['README.md']],
  ['services/*/server.js', ['services/mail/server.js', 'services/shop/server.js']],
])('the filter %s names %j', (pattern, names) => {
  const content = (entries: typeof tree) =>
    appTree(entries, { ...shop, changes: [pattern] }).content
  const changing = tree
    .filter(({ path }) => path === 'services/shop/server.js' || !path.startsWith('services/shop'))
    .filter((entry) => {
      const changed = tree.map((old) => (old === entry ? { ...old, object: 'other' } : old))
      return content(changed) !== content(tree)
    })
  const expected = [...new Set([...names, 'services/shop/server.js'])].toSorted()
  expect(changing.map(({ path }) => path).toSorted()).toEqual(expected)
})

test.each([
  ['a folder', { ...shop, path: 'services/shopp' }, 'services/shopp'],
  ['a filter', { ...shop, changes: ['doc/**'] }, 'doc/**'],
  ['an include', { ...shop, include: [{ from: 'packages/share', to: 'x' }] }, 'packages/share'],
])('%s that names nothing is refused: it is a mistake', (_what, entry, what) => {
  expect(() => appTree(tree, entry)).toThrow(`the commit has nothing at ${what}`)
})

test.each(['server.js', 'server.js/x'])('an included file never takes a place: %s', (to) => {
  const entry = { ...shop, include: [{ from: 'packages/shared', to }] }
  expect(() => appTree(tree, entry)).toThrow('would take the place')
})
