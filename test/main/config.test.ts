import { expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { loadConfig } from '../../src/main/config.ts'
import { settings } from '../../src/main/settings.ts'

test('without any setting everything has a place and a port', () => {
  const config = loadConfig({}, '/srv')
  expect(config.home).toBe('/srv/.kiln')
  expect(config.paths.signerSocket).toBe('/srv/.kiln/run/signer.sock')
  expect(config.templates.endsWith('/templates')).toBe(true)
  expect(config.repositories).toEqual([])
  expect(config.ports).toMatchObject({
    api: 7400,
    registry: 7401,
    buildRegistry: 7402,
    edgeFirst: 7410,
  })
  expect(config.docker).toEqual({ runtime: '/var/run/docker.sock', build: '/var/run/docker.sock' })
  expect(config.temporal).toEqual({ kind: 'own', address: '127.0.0.1:7405' })
  expect(config).toMatchObject({ hostName: 'local', origin: 'kiln.localhost', logLevel: 'info' })
  expect(config.crashAt).toBeUndefined()
})

test('no two of the standard ports collide', () => {
  const { edgeFirst, edgeLast, ...single } = loadConfig({ KILN_API_PORT: '9000' }, '/').ports
  const ports = Object.values(single)
  expect(new Set(ports).size).toBe(ports.length)
  expect(ports.every((one) => one >= 9000 && one < edgeFirst)).toBe(true)
  expect(edgeLast).toBe(9099)
})

test('settings replace what is standard', () => {
  const config = loadConfig(
    {
      KILN_HOME: 'state',
      KILN_TEMPLATES: '/moulds',
      KILN_REPOSITORIES: '/a:/b',
      KILN_REGISTRY_PORT: '5001',
      KILN_TEMPORAL_ADDRESS: 'temporal.internal:7233',
      KILN_BUILD_DOCKER_HOST: 'unix:///run/build.sock',
      KILN_DEBIAN_MIRROR: 'http://mirror.internal/debian',
      KILN_LOG_LEVEL: '',
    },
    '/srv',
  )
  expect(config).toMatchObject({
    home: '/srv/state',
    templates: '/moulds',
    repositories: ['/a', '/b'],
    docker: { runtime: '/var/run/docker.sock', build: '/run/build.sock' },
    temporal: { kind: 'given', address: 'temporal.internal:7233' },
    debianMirror: 'http://mirror.internal/debian',
    logLevel: 'info',
  })
  expect(config.ports.registry).toBe(5001)
})

test.each([
  ['KILN_API_PORT', '80'],
  ['KILN_API_PORT', 'x'],
  ['KILN_EDGE_PORT', '70000'],
  ['KILN_REPOSITORIES', 'relative/path'],
  ['KILN_TEMPORAL_ADDRESS', 'no-port'],
  ['DOCKER_HOST', 'tcp://10.0.0.1:2375'],
  ['KILN_BUILD_DOCKER_HOST', '/run/docker.sock'],
  ['KILN_HOST', 'Not A Label'],
  ['KILN_ORIGIN', 'a/b'],
  ['KILN_DEBIAN_MIRROR', 'ext::sh -c id'],
  ['KILN_LOG_LEVEL', 'loud'],
  ['KILN_INDEX', 'mysql://kiln@db/kiln'],
  ['KILN_INDEX', 'postgres://kiln@db/kiln?options=-c'],
])('%s=%s is refused by name', (name, value) => {
  let refusal: unknown
  try {
    loadConfig({ [name]: value }, '/')
  } catch (error) {
    refusal = error
  }
  expect(refusal).toBeInstanceOf(KilnError)
  expect(refusal).toMatchObject({ code: 'invalid_input', place: name })
  expect(String(refusal)).toContain(`${name}=`)
})

test('a password in an address is refused and not shown', () => {
  const given = { KILN_INDEX: 'postgres://kiln:hunter2@db/kiln' }
  const refused = (): unknown => loadConfig(given, '/')
  expect(refused).toThrow(/KILN_INDEX=postgres:\/\/…@db\/kiln: .*KILN_INDEX_PASSWORD/)
  expect(refused).not.toThrow(/hunter2/)
})

test('the index is a folder of the home, or a database with its password in a file', () => {
  expect(loadConfig({ KILN_HOME: '/k' }, '/').index).toEqual({ kind: 'pglite', dir: '/k/index' })
  const address = 'postgres://kiln@db.example.test:5432/kiln?sslmode=verify-full'
  const given = { KILN_INDEX: address, KILN_INDEX_PASSWORD: 'pw' }
  expect(loadConfig(given, '/etc').index).toEqual({
    kind: 'postgres',
    address,
    passwordFile: '/etc/pw',
  })
})

test('every bad setting is named at once', () => {
  const bad = { KILN_API_PORT: 'x', KILN_LOG_LEVEL: 'loud' }
  expect(() => loadConfig(bad, '/')).toThrow(/KILN_API_PORT=x.*KILN_LOG_LEVEL=loud/)
})

test('each setting says what it means and what holds without it', () => {
  for (const { about, standard } of Object.values(settings)) {
    expect(about).not.toBe('')
    expect(standard).not.toBe('')
  }
})
