import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { parseSpecification } from '../../src/source/specification.ts'

const parse = (text: string) => parseSpecification(Buffer.from(text))

function refusalOf(text: string): KilnError {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof KilnError) return error
    throw error
  }
  throw new Error('it was accepted')
}

const head = 'version: 1\napp: hello\ntemplate: node-service\n'
const dev = `${head}environments:\n  - name: dev\n`

test('what is left out has the documented defaults', () => {
  expect(parse(dev)).toEqual({
    version: 1,
    app: 'hello',
    template: 'node-service',
    environments: [
      {
        definition: {
          version: 1,
          environment: 'dev',
          port: 8080,
          readiness: { path: '/ready', intervalMs: 500, timeoutMs: 1000 },
          resources: { memoryMb: 256, cpus: 0.5, pids: 128 },
          config: {},
          start: { timeoutMs: 30_000 },
          stop: { graceMs: 10_000, drainMs: 30_000 },
          strategy: 'rolling',
        },
        instances: { min: 1, max: 1 },
        automatic: true,
      },
    ],
  })
})

test('units, ranges and promotion are read as they are written', () => {
  const found = parse(`${dev}    promote: manual
    instances: { min: 3 }
    start: { timeout: 2m }
    resources: { memory: 2Gi, cpus: 1.5 }
    config: { LOG_LEVEL: warn, EMPTY: "" }
  - name: prod
    promote: automatic
`)
  expect(found.environments).toMatchObject([
    {
      automatic: false,
      instances: { min: 3, max: 3 },
      definition: {
        start: { timeoutMs: 120_000 },
        resources: { memoryMb: 2048, cpus: 1.5 },
        config: { LOG_LEVEL: 'warn', EMPTY: '' },
      },
    },
    { automatic: true },
  ])
})

test('the example is valid', async () => {
  const text = await readFile(new URL('../../examples/hello/kiln.yaml', import.meta.url), 'utf8')
  expect(parse(text).environments.map((one) => one.definition.environment)).toEqual([
    'dev',
    'test',
    'prod',
  ])
})

test('a fault names the place and shows the line with a caret', () => {
  const error = refusalOf(`${dev}    readyness: { path: /x }\n`)
  expect(error.code).toBe('invalid_yaml')
  expect(error.place).toBe('kiln.yaml:6:5')
  expect(error.message).toBe('unknown key "readyness"; did you mean readiness?')
  expect(error.lines).toEqual([
    'kiln.yaml:6:5: unknown key "readyness"; did you mean readiness?',
    '      readyness: { path: /x }',
    '      ^',
  ])
})

test('every fault is listed, in the order of the file', () => {
  const error = refusalOf(
    `${dev}    port: 99999\n    resources: { memory: 12 }\n    start: { timeout: soon }\n`,
  )
  expect(error.place).toBe('kiln.yaml:6:11')
  expect(error.message).toContain('(and 2 more)')
  expect(error.lines.filter((line) => line.startsWith('kiln.yaml:'))).toEqual([
    expect.stringContaining('kiln.yaml:6:11: environments.0.port'),
    expect.stringContaining('kiln.yaml:7:26: environments.0.resources.memory: must be an amount'),
    expect.stringContaining('kiln.yaml:8:23: environments.0.start.timeout: must be a duration'),
  ])
})

const big = `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n`

test.each([
  ['a duplicate key', `${dev}app: again\n`, 'kiln.yaml:6:1', 'unique'],
  ['a duplicate key inside', `${dev}    port: 1\n    port: 2\n`, 'kiln.yaml:7:5', 'unique'],
  ['an unknown version', dev.replace('1', '2'), 'kiln.yaml:1:10', 'must be 1'],
  ['a version as text', dev.replace('1', '"1"'), 'kiln.yaml:1:10', 'must be 1'],
  [
    'an unknown key at the top',
    `${dev}enviroments: []\n`,
    'kiln.yaml:6:1',
    'did you mean environments?',
  ],
  ['a key like no other', `${dev}zzz: 1\n`, 'kiln.yaml:6:1', 'known are version'],
  [
    'no app',
    'version: 1\ntemplate: x\nenvironments: [{name: a}]\n',
    'kiln.yaml:1:1',
    'app: is missing',
  ],
  ['no environments', head, 'kiln.yaml:1:1', 'environments: is missing'],
  ['an empty list', `${head}environments: []\n`, 'kiln.yaml:4:15', 'at least one'],
  ['an empty file', '', 'kiln.yaml:1:1', ''],
  ['a list', '- a\n', 'kiln.yaml:1:1', ''],
  ['a broken file', 'a: [\n', 'kiln.yaml:2:1', ''],
  ['two documents', `${dev}---\n${dev}`, 'kiln.yaml:6:1', 'documents'],
  ['an alias bomb', big, 'kiln.yaml:1:7', 'anchors are not allowed'],
  [
    'a merge key',
    `${dev}    config: { <<: { A: b } }\n`,
    'kiln.yaml:6:15',
    'the key << is not allowed',
  ],
  ['__proto__', `${dev}    config: { __proto__: { A: b } }\n`, 'kiln.yaml:6:15', 'not allowed'],
  ['constructor', `${dev}constructor: x\n`, 'kiln.yaml:6:1', 'not allowed'],
  ['a tag', `${dev}    port: !!js/function x\n`, 'kiln.yaml:6:11', ''],
  ['a number as text', `${dev}    port: "80"\n`, 'kiln.yaml:6:11', 'port'],
  ['yes for a number', `${dev}    instances: { min: yes }\n`, 'kiln.yaml:6:23', 'min'],
  ['not a number', `${dev}    resources: { cpus: .nan }\n`, 'kiln.yaml:6:24', 'cpus'],
  ['endless', `${dev}    resources: { cpus: .inf }\n`, 'kiln.yaml:6:24', 'cpus'],
  ['1e999', `${dev}    resources: { pids: 1e999 }\n`, 'kiln.yaml:6:24', 'pids'],
  ['a negative count', `${dev}    instances: { min: -1 }\n`, 'kiln.yaml:6:23', 'min'],
  ['max under min', `${dev}    instances: { min: 3, max: 2 }\n`, 'kiln.yaml:6:31', 'less than min'],
  ['two of one name', `${dev}  - name: dev\n`, 'kiln.yaml:6:11', 'two environments dev'],
  [
    'a name with a slash',
    `${head}environments:\n  - name: a/b\n`,
    'kiln.yaml:5:11',
    'must be a name',
  ],
  ['a capital name', `${head}environments:\n  - name: Dev\n`, 'kiln.yaml:5:11', 'must be a name'],
  ['a config number', `${dev}    config: { A: 1 }\n`, 'kiln.yaml:6:18', 'put it in quotes'],
  [
    'a config line feed',
    `${dev}    config: { A: "a\\nb" }\n`,
    'kiln.yaml:6:18',
    'control character',
  ],
  ['a config name', `${dev}    config: { a-b: x }\n`, 'kiln.yaml:6:20', 'not a name such as'],
  ['PORT', `${dev}    config: { PORT: "1" }\n`, 'kiln.yaml:6:21', 'set by Kiln itself'],
  ['LD_PRELOAD', `${dev}    config: { LD_PRELOAD: x }\n`, 'kiln.yaml:6:27', 'would change'],
  [
    'a secret by name',
    `${dev}    config: { DB_PASSWORD: x }\n`,
    'kiln.yaml:6:28',
    'looks like a secret',
  ],
  [
    'a secret by value',
    `${dev}    config: { URL: "https://u:p@x" }\n`,
    'kiln.yaml:6:20',
    'looks like an address with a password',
  ],
  [
    'a relative path',
    `${dev}    readiness: { path: ready }\n`,
    'kiln.yaml:6:24',
    'must be a plain path',
  ],
  [
    'a path with a line feed',
    `${dev}    readiness: { path: "/a\\r\\nX: y" }\n`,
    'kiln.yaml:6:24',
    'plain path',
  ],
  ['another strategy', `${dev}    strategy: canary\n`, 'kiln.yaml:6:15', 'must be rolling'],
  ['another promote', `${dev}    promote: never\n`, 'kiln.yaml:6:14', 'automatic or manual'],
  [
    'a duration without a unit',
    `${dev}    start: { timeout: 30 }\n`,
    'kiln.yaml:6:23',
    'must be a duration',
  ],
  [
    'too long a duration',
    `${dev}    start: { timeout: 999m }\n`,
    'kiln.yaml:6:23',
    'must be a duration',
  ],
])('%s is refused', (...row) => {
  const [, text, place, message] = row
  const error = refusalOf(text)
  expect(error.code).toBe('invalid_yaml')
  expect(error.place).toBe(place)
  expect(error.message).toContain(message)
})

test('a file that is too large or not UTF-8 is refused, and so are hostile depths in time', () => {
  expect(refusalOf(`# ${'x'.repeat(70_000)}`).message).toContain('more than')
  expect(() => parseSpecification(Buffer.from([0x61, 0xff]))).toThrow('not UTF-8')
  expect(refusalOf('['.repeat(60_000)).code).toBe('invalid_yaml')
  expect(refusalOf('{a: '.repeat(15_000)).code).toBe('invalid_yaml')
})

test('a refusal of a secret does not repeat it', () => {
  const value = `ghp_${'a'.repeat(36)}`
  const error = refusalOf(`${dev}    config:\n      X: ${value}\n`)
  expect(JSON.stringify([error.message, error.place, error.lines])).not.toContain(value)
})

const definitionIn = (text: string) => parse(text).environments[0]?.definition

test('routes and probes stand in the definition when they are given, and only then', () => {
  const given = definitionIn(`${dev}    route: { host: shop.example.test, path: /api }
    readiness: { tcp: true, threshold: 5, rise: 2 }
    liveness: { path: /live, interval: 2s, timeout: 500ms, threshold: 4 }
`)
  expect(given).toMatchObject({
    route: { host: 'shop.example.test', path: '/api' },
    readiness: { tcp: true, intervalMs: 500, timeoutMs: 1000, threshold: 5, rise: 2 },
    liveness: { path: '/live', intervalMs: 2000, timeoutMs: 500, threshold: 4 },
  })
  expect(given?.readiness).not.toHaveProperty('path')
  expect(Object.keys(definitionIn(dev) ?? {})).not.toContain('route')
  expect(definitionIn(`${dev}    route: { path: /.well-known/x }\n`)?.route).toEqual({
    path: '/.well-known/x',
  })
})

test.each([
  ['route: {}', 'must have a host, a path, or both'],
  ['route: { host: Shop.example.test }', 'host name in lower case'],
  ['route: { host: "shop.example.test:80" }', 'host name in lower case'],
  ['route: { host: shop.example.test. }', 'host name in lower case'],
  ['route: { host: "*.example.test" }', 'host name in lower case'],
  ['route: { host: 10.0.0.1 }', 'host name in lower case'],
  ['route: { host: a..test }', 'host name in lower case'],
  ['route: { path: api }', 'plain path'],
  ['route: { path: /api/ }', 'plain path'],
  ['route: { path: //api }', 'plain path'],
  ['route: { path: /api/../x }', 'plain path'],
  ['route: { path: /api%2fx }', 'plain path'],
  ['route: { host: a.test, hosts: x }', 'did you mean host?'],
  ['readiness: { path: /ready, tcp: true }', 'either path or tcp'],
  ['readiness: { tcp: false }', 'must be true'],
  ['liveness: { interval: 5s }', 'must say path or tcp'],
  ['liveness: { path: /live, tcp: true }', 'either path or tcp'],
  ['liveness: { path: /live, threshold: 0 }', '>=1'],
])('refused: %s', (line, reason) => {
  const { code, message } = refusalOf(`${dev}    ${line}\n`)
  expect([code, message]).toEqual(['invalid_yaml', expect.stringContaining(reason)])
})

test('two environments of one file never share a route', () => {
  const two = `${dev}    route: { host: shop.example.test }
  - name: prod
    route: { host: shop.example.test, path: / }
`
  const { message, place } = refusalOf(two)
  expect(message).toContain('dev has the route shop.example.test already')
  expect(place).toBe('kiln.yaml:8:12')
})
