import { expect, test } from 'vitest'
import {
  accessTo,
  knownAs,
  repositoriesForm,
  statusPlaceOf,
} from '../../src/source/known-repository.ts'
import { parseRepository } from '../../src/source/repository.ts'
import { isSamePlace, placeOf } from '../../src/source/same-repository.ts'

const same = [
  'https://github.com/acme/shop',
  'https://github.com/acme/shop.git',
  'https://GitHub.com:443/Acme/Shop/',
  'http://github.com/acme/shop.git',
  'git@github.com:acme/shop.git',
  'git@github.com:/acme/shop',
  'ssh://git@github.com/acme/shop.git',
  'ssh://git@github.com:22/acme/shop',
]
const others = [
  'https://github.com.example.org/acme/shop',
  'https://github.com@example.org/acme/shop',
  'https://github.com:8443/acme/shop',
  'https://example.org/github.com/acme/shop',
  'https://github.com/acme/shop/other',
  'https://github.com/acme/shop/../shop',
  'https://github.com/acme/./shop',
  'https://github.com/acme//shop',
  'https://github.com/acme/shop?x',
  'https://github.com/acme/shop#x',
  'https://github.com/acme%2Fshop',
  'git@github.com:acme/shop2.git',
  'git@github.com.evil.example:acme/shop.git',
  'file:///github.com/acme/shop',
  'ext::sh github.com:acme/shop',
  'github.com',
  '/acme/shop',
  '',
  'https://github.com/acme/shop\n',
  `https://github.com/${'a'.repeat(3000)}`,
]

test.each(same)('%s is the same place', (one) => {
  expect(same.filter((other) => !isSamePlace(one, other))).toEqual([])
})

test.each(others)('%j is another place, or none', (other) => {
  expect(same.filter((one) => isSamePlace(one, other))).toEqual([])
})

test('the case of a path is kept for the forge to read', () => {
  expect(placeOf('git@GitHub.com:Acme/Shop.git')).toEqual({ host: 'github.com', path: 'Acme/Shop' })
})

const ssh = { keyFile: '/etc/kiln/key', knownHostsFile: '/etc/kiln/known_hosts' }
const token = { tokenFile: '/etc/kiln/token' }
const read = (...repositories: object[]) => repositoriesForm.safeParse({ version: 1, repositories })

test.each([
  ['a key for https', { address: 'https://github.com/acme/shop', ssh }],
  ['a token for ssh', { address: 'git@github.com:acme/shop', token }],
  ['a key and a token', { address: 'git@github.com:acme/shop', ssh, token }],
  ['a key without its known hosts', { address: 'git@github.com:a/b', ssh: { keyFile: '/k' } }],
  ['a token itself', { address: 'https://github.com/acme/shop', token: { token: 'abc' } }],
  ['a relative path', { address: 'https://github.com/acme/shop', token: { tokenFile: 'token' } }],
  [
    'a path that ssh would expand',
    { address: 'git@github.com:a/b', ssh: { ...ssh, keyFile: '/etc/%u/${HOME}' } },
  ],
  [
    'a path of two words',
    { address: 'git@github.com:a/b', ssh: { ...ssh, knownHostsFile: '/etc/a /etc/b' } },
  ],
  [
    'a webhook of nobody',
    { address: 'https://github.com/acme/shop', webhook: { secretFile: '/etc/kiln/x' } },
  ],
  ['another forge', { address: 'https://github.com/acme/shop', forge: 'bitbucket' }],
  [
    'an api over plain http',
    {
      address: 'https://gitea.example.org/a/b',
      forge: 'gitea',
      status: { ...token, api: 'http://gitea.example.org/api/v1' },
    },
  ],
  [
    'an api with a password in it',
    {
      address: 'https://gitea.example.org/a/b',
      forge: 'gitea',
      status: { ...token, api: 'https://u:p@gitea.example.org/api/v1' },
    },
  ],
  ['an unknown field', { address: 'https://github.com/acme/shop', password: 'x' }],
])('repositories.yaml: %s is refused', (_what, entry) => {
  expect(read(entry).success).toBe(false)
})

test('repositories.yaml: one repository twice, written in two ways, is refused', () => {
  expect(read({ address: same[0] }, { address: same[4] }).success).toBe(false)
  expect(read({ address: same[0] }, { address: others[5] }).success).toBe(true)
})

test('a key is for ssh, a token for https, and a status for the forge', () => {
  const entries = [
    { address: 'git@github.com:Acme/shop.git', ssh, forge: 'github', status: token },
    { address: 'https://git.example.org/team/app.git', token, forge: 'gitlab', status: token },
  ]
  const known = read(...entries).data?.repositories ?? []
  const rules = { allowedPaths: [], allowedHosts: [] }
  const access = (address: string) => accessTo(known, parseRepository(address, rules))
  expect(access('ssh://git@github.com/Acme/shop')).toEqual({ kind: 'ssh-key', ...ssh })
  expect(access('https://github.com/Acme/shop')).toEqual({ kind: 'none' })
  expect(access('https://git.example.org/team/app')).toEqual({
    kind: 'token',
    user: 'x-access-token',
    ...token,
  })
  expect(access('https://git.example.org/team/other')).toEqual({ kind: 'none' })
  expect(knownAs(known, 'https://github.com/acme/shop')?.forge).toBe('github')
  expect(statusPlaceOf(known, 'https://github.com/acme/shop')).toEqual({
    forge: 'github',
    api: 'https://api.github.com',
    path: 'Acme/shop',
    ...token,
  })
  expect(statusPlaceOf(known, 'https://git.example.org/team/app')?.api).toBe(
    'https://git.example.org/api/v4',
  )
  expect(statusPlaceOf(known, 'https://git.example.org/team/other')).toBeUndefined()
})
