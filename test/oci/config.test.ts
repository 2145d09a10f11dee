import { expect, test } from 'vitest'
import { parseDigest } from '../../src/domain/digest.ts'
import { artifactConfig } from '../../src/oci/config.ts'
import type { EngineConfig } from '../../src/oci/read-image.ts'

const digest = parseDigest(`sha256:${'a'.repeat(64)}`)
const source = { repository: 'r', commit: 'c', tree: 't', committedAt: 0, subject: 's' }
const configOf = (config: EngineConfig['config']) =>
  artifactConfig(
    { architecture: 'amd64', os: 'linux', config, rootfs: { type: 'layers', diff_ids: [] } },
    { app: 'hello', source, diffIds: [digest] },
  )

test.each([
  '',
  'root',
  '0',
  '0:0',
  '0:901',
  'kiln',
  'kiln:kiln',
  '-1',
  '901:',
  ' 901',
  null,
  undefined,
])('an image that would run as %j is refused', (User) => {
  expect(() => configOf({ User })).toThrow(
    expect.objectContaining({ code: 'invalid_image' }) as Error,
  )
})

test('an image without a config is refused', () => {
  expect(() => configOf(null)).toThrow('would run as ""')
})

test('only what is on the list comes through', () => {
  const noisy = { User: '901:901', StopSignal: 'SIGINT', WorkingDir: '', Cmd: null, Hostname: 'x' }
  expect(configOf(noisy)).toMatchObject({
    created: '1970-01-01T00:00:00Z',
    rootfs: { diff_ids: [digest] },
  })
  expect(Object.keys(configOf(noisy).config)).toEqual(['User', 'StopSignal', 'Labels'])
})

test('the repository’s address is not in it: one commit has one digest, wherever it was read', () => {
  const engine: EngineConfig = {
    architecture: 'amd64',
    os: 'linux',
    config: { User: '901:901' },
    rootfs: { type: 'layers', diff_ids: [] },
  }
  const at = (repository: string, namesRepository?: boolean) =>
    artifactConfig(engine, {
      app: 'hello',
      source: { ...source, repository },
      diffIds: [digest],
      ...(namesRepository === undefined ? {} : { namesRepository }),
    })
  expect(at('https://one.test/a')).toEqual(at('git@two.test:b'))
  // An artifact that was made before still has the config that it had.
  expect(at('https://one.test/a', true).config.Labels).toEqual({
    ...at('https://one.test/a').config.Labels,
    'org.opencontainers.image.source': 'https://one.test/a',
  })
})
