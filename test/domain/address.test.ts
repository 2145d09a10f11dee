import { expect, test } from 'vitest'
import { mayHoldSecret } from '../../src/domain/address.ts'

test.each([
  'https://user:password@git.example/team/app',
  'https://token@git.example/team/app',
  'HTTPS://user:pa@ss@git.example/team/app',
  'http://:password@git.example/app',
  'ssh://git:password@git.example/app',
  'user:password@git.example:team/app',
  'https://git.example/app?private_token=x',
  'https://git.example/app#x',
  'https://user:password@git.example\\app',
])('%s may hold a secret', (address) => {
  expect(mayHoldSecret(address)).toBe(true)
})

test.each([
  'https://git.example/team/app',
  'https://git.example:8443/team/app@v1',
  'ssh://git@git.example:2222/team/app',
  'git@git.example:team/app',
  '/srv/git/app',
  'file:///srv/git/app',
  '',
])('%s holds none', (address) => {
  expect(mayHoldSecret(address)).toBe(false)
})
