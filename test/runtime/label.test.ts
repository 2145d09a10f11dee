import { expect, test } from 'vitest'
import { environmentOfContainer, instanceName, networkName } from '../../src/runtime/label.ts'

const naming = { host: 'local', prefix: 'kiln' }
const label = { 'kiln.environment': 'hello/prod' }

test('names are those of the environment, the epoch and the number', () => {
  expect(networkName(naming, 'hello/prod')).toBe('kiln.hello.prod')
  expect(instanceName(naming, { environment: 'hello/prod', epoch: 7 }, 2)).toBe(
    'kiln.hello.prod.7.2',
  )
  // With dashes these two would be one.
  expect(networkName(naming, 'a-b/c')).not.toBe(networkName(naming, 'a/b-c'))
})

test.each([
  ['an instance', 'kiln.hello.prod.1.1', { ...label, 'kiln.host': 'local' }, 'hello/prod'],
  ['a name alone', 'kiln.hello.prod.x', {}, 'hello/prod'],
  ["this host's label alone", 'eager_bell', { ...label, 'kiln.host': 'local' }, 'hello/prod'],
  ['an instance of another host', 'other.hello.prod.1.1', { ...label, 'kiln.host': 'b' }, null],
  ["another host's label on our name", 'kiln.hello.prod.1.1', { 'kiln.host': 'b' }, null],
  ['a label that names no host', 'eager_bell', label, null],
  ['something else', 'postgres', {}, null],
  ['no environment', 'kiln.hello', { 'kiln.host': 'local' }, null],
])('whose %s is', (...[, name, labels, environment]) => {
  expect(environmentOfContainer(naming, { name, labels })).toBe(environment)
})
