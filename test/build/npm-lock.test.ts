import { expect, test } from 'vitest'
import { checkNpmLock } from '../../src/build/npm-lock.ts'

const integrity = `sha512-${'A'.repeat(86)}==`
const good = {
  version: '1.0.0',
  resolved: 'https://registry.test/ms/-/ms-1.0.0.tgz',
  integrity,
}
const lock = (entry: object, more: object = {}) =>
  JSON.stringify({ lockfileVersion: 3, packages: { '': {}, 'node_modules/ms': entry }, ...more })

test('takes a lock that pins everything, with and without addresses', () => {
  expect(() => checkNpmLock(lock(good))).not.toThrow()
  expect(() => checkNpmLock(lock({ version: '1.0.0', integrity }))).not.toThrow()
  expect(() => checkNpmLock(lock({ inBundle: true, version: '1.0.0' }))).not.toThrow()
})

const refused: [string, string, object][] = [
  ['no hash', 'no SHA-512', { ...good, integrity: undefined }],
  ['a weak hash', 'no SHA-512', { ...good, integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }],
  ['git', 'no registry', { ...good, resolved: 'git+ssh://git@git.test/a.git#abc' }],
  ['git over https', 'no registry', { ...good, resolved: 'git+https://git.test/a.git#abc' }],
  ['plain http', 'no registry', { ...good, resolved: 'http://registry.test/ms/-/ms-1.0.0.tgz' }],
  ['a file', 'no registry', { ...good, resolved: 'file:../ms' }],
  ['a tarball from anywhere', 'no registry', { ...good, resolved: 'https://evil.test/x.tgz' }],
  ['a password', 'no registry', { ...good, resolved: 'https://u:p@registry.test/ms/-/ms-1.tgz' }],
  ['no address at all', 'no registry', { ...good, resolved: 7 }],
  ['a link', 'is a link', { ...good, link: true }],
]

test.each(refused)('refuses %s and names the entry', (_what, message, entry) => {
  expect(() => checkNpmLock(lock(entry))).toThrow(
    expect.objectContaining({
      code: 'lock_mismatch',
      message: expect.stringContaining(message) as string,
      place: 'package-lock.json packages["node_modules/ms"]',
    }) as Error,
  )
})

test.each([
  ['packages/own', 'outside node_modules'],
  ['node_modules/../../etc', 'outside node_modules'],
  ['node_modules/.bin', 'outside node_modules'],
])('refuses a package at %s', (path, message) => {
  const text = JSON.stringify({ lockfileVersion: 3, packages: { [path]: good } })
  expect(() => checkNpmLock(text)).toThrow(message)
})

test('refuses old versions, workspaces and what is no lock', () => {
  expect(() => checkNpmLock(lock(good, { lockfileVersion: 1 }))).toThrow(
    'version 1 pins too little',
  )
  const workspaces = { lockfileVersion: 3, packages: { '': { workspaces: ['a'] } } }
  expect(() => checkNpmLock(JSON.stringify(workspaces))).toThrow('workspaces')
  expect(() => checkNpmLock('{')).toThrow('not a lock file')
  expect(() => checkNpmLock('{"lockfileVersion":3}')).toThrow('not a lock file')
})
