import { mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ErrorCode } from '../../src/domain/error.ts'
import { parseSpecification } from '../../src/source/specification.ts'
import { checkTemplate } from '../../src/template/check-template.ts'
import { parseDockerfile } from '../../src/template/dockerfile.ts'
import { parseLock, type ContainerLock } from '../../src/template/lock-file.ts'
import { lockTemplate } from '../../src/template/lock-template.ts'
import { parseTemplate } from '../../src/template/template-file.ts'
import type { TemplateRoom } from '../../src/template/template-room.ts'
import { append, editLock, nothing, templateRooms } from '../template/own-room.ts'

/** Numbers are those of the catalogue in docs/bad-input.md. */
const debian = `version: 1
kind: debian
architecture: amd64
suite: bookworm
packages: [ca-certificates]
users: [{ name: kiln, uid: 901 }]
`
const specification = `version: 1
app: hello
template: node-service
environments:
  - name: dev
    port: 8080
    config: { A: x }
`
const hex = 'a'.repeat(64)
const dockerfile = (...lines: string[]) =>
  `FROM base\n${lines.join('\n')}\nUSER 901:901\nCMD ["x"]\n`

const template = (text: string) => () => parseTemplate(text)
const yaml = (text: string) => () => parseSpecification(Buffer.from(text))
const docker = (text: string) => () => parseDockerfile(text, { place: 'Dockerfile' })
const lock = (text: string) => () => parseLock(text)
const value = (text: string) => yaml(specification.replace('A: x', `A: ${text}`))
const uid = (text: string) => template(debian.replace('901', text))
const port = (text: string) => yaml(specification.replace('8080', text))

const bomb = `a: &a [x,x]\n${Array.from('bcdefgh')
  .map((name, n) => `${name}: &${name} [*${'abcdefg'[n]},*${'abcdefg'[n]}]`)
  .join('\n')}\n`

type Row = [number: number, what: string, attempt: () => unknown, code: ErrorCode, place: string]

const rows: Row[] = [
  [1, 'an alias bomb in template.yaml', template(bomb), 'invalid_yaml', 'template.yaml:1:'],
  [1, 'an alias bomb in kiln.yaml', yaml(bomb), 'invalid_yaml', 'kiln.yaml:1:'],
  [2, 'a key twice', template(`${debian}kind: debian\n`), 'invalid_yaml', 'template.yaml:7:1'],
  [2, 'a merge key', template(`${debian}<<: {}\n`), 'invalid_yaml', 'template.yaml:7:1'],
  [
    2,
    'a merge key in kiln.yaml',
    yaml(`${specification}<<: {}\n`),
    'invalid_yaml',
    'kiln.yaml:8:1',
  ],
  [3, '__proto__', template(`${debian}__proto__: {}\n`), 'invalid_yaml', 'template.yaml:7:1'],
  [3, 'constructor', yaml(`${specification}constructor: {}\n`), 'invalid_yaml', 'kiln.yaml:8:1'],
  [3, 'prototype', yaml(`${specification}prototype: {}\n`), 'invalid_yaml', 'kiln.yaml:8:1'],
  ...[
    '.nan',
    '1e999',
    '-0',
    '0o1605',
    '01605',
    '0x385',
    '9.01e2',
    '+901',
    'yes',
    '!own 901',
  ].flatMap((text): Row[] => [
    [4, `${text} for a user id`, uid(text), 'invalid_yaml', 'template.yaml:6:'],
    [4, `${text} for a port`, port(text), 'invalid_yaml', 'kiln.yaml:6:'],
  ]),
  [5, 'an unknown field', template(`${debian}more: 1\n`), 'invalid_yaml', 'template.yaml:7:1'],
  [
    5,
    'an unknown version',
    template(debian.replace('1', '2')),
    'invalid_yaml',
    'template.yaml:1:10',
  ],
  [
    5,
    'an unknown version of kiln.yaml',
    yaml(specification.replace('1', '2')),
    'invalid_yaml',
    'kiln.yaml:1:10',
  ],
  ...[
    'node:24',
    '${BASE}',
    '$BASE',
    `sha256:${hex.toUpperCase()}`,
    `sha512:${hex}${hex}`,
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}`,
    `debian@sha256:${hex}`,
  ].map((text): Row => [
    6,
    `FROM ${text.slice(0, 24)}`,
    docker(`ARG BASE=base\nFROM ${text}\n`),
    'invalid_dockerfile',
    'Dockerfile:1',
  ]),
  ...[
    'node:24',
    '${BASE}',
    `sha256:${hex.toUpperCase()}`,
    `sha512:${hex}${hex}`,
    `sha256:${hex.slice(1)}`,
  ].map((text): Row => [
    6,
    `a second FROM ${text.slice(0, 24)}`,
    docker(`FROM base\nFROM ${text}\n`),
    'invalid_dockerfile',
    'Dockerfile:2 FROM',
  ]),
  [
    7,
    '# syntax=',
    docker(`# syntax=evil/x\n${dockerfile('RUN x')}`),
    'invalid_dockerfile',
    'Dockerfile:1',
  ],
  [
    7,
    '# escape=',
    docker(`# escape=\`\n${dockerfile('RUN x')}`),
    'invalid_dockerfile',
    'Dockerfile:1',
  ],
  [
    7,
    'a byte order mark',
    docker(`\ufeff${dockerfile('RUN x')}`),
    'invalid_dockerfile',
    'Dockerfile:1',
  ],
  [
    7,
    'CRLF',
    docker(dockerfile('RUN x').replaceAll('\n', '\r\n')),
    'invalid_dockerfile',
    'Dockerfile:1',
  ],
  [
    7,
    'CR in a line',
    docker(dockerfile('RUN x\rADD http://x /y')),
    'invalid_dockerfile',
    'Dockerfile:2',
  ],
  ...[
    'ONBUILD RUN x',
    'HEALTHCHECK CMD x',
    'SHELL ["/bin/sh"]',
    'ADD https://x/y /z',
    'ADD git@x:y /z',
    'RUN --mount=type=ssh x',
    'RUN --security=insecure x',
    'RUN --network=host x',
    'RUN cat <<EOF && x',
  ].map((line): Row => [8, line, docker(dockerfile(line)), 'invalid_dockerfile', 'Dockerfile:']),
  [9, 'a line feed in a setting', value('"a\\nb"'), 'invalid_yaml', 'kiln.yaml:7:'],
  [9, 'a NUL in a setting', value('"a\\0b"'), 'invalid_yaml', 'kiln.yaml:7:'],
  [9, 'a direction mark in a setting', value('"\\u202e"'), 'invalid_yaml', 'kiln.yaml:7:'],
  [9, 'half a letter in a setting', value('"\\ud800"'), 'invalid_yaml', 'kiln.yaml:7:'],
  [9, 'a setting of 5,000 letters', value('x'.repeat(5000)), 'invalid_yaml', 'kiln.yaml:7:'],
  [9, 'a setting of 1 MB', value('x'.repeat(1_000_000)), 'invalid_yaml', 'kiln.yaml'],
  [
    9,
    'a value with a substitution',
    docker(dockerfile('ENV A=$(id)')),
    'invalid_dockerfile',
    'Dockerfile:2 ENV',
  ],
  [
    9,
    'a value with a variable',
    docker(dockerfile('ENV A=${B}')),
    'invalid_dockerfile',
    'Dockerfile:2 ENV',
  ],
  [
    9,
    'a Dockerfile of 1 MB',
    docker(dockerfile(`ENV A=${'x'.repeat(1_000_000)}`)),
    'invalid_dockerfile',
    'Dockerfile:1',
  ],
  [10, 'a lock that is no lock', lock('{}'), 'invalid_yaml', 'template.lock:1:1'],
  [
    10,
    'a lock with a name twice',
    lock('{ "kind": "debian", "kind": "debian" }'),
    'invalid_yaml',
    'template.lock:1:21',
  ],
  [
    13,
    'template.yaml 10,000 deep',
    template(`a: ${'['.repeat(10_000)}`),
    'invalid_yaml',
    'template.yaml:1:',
  ],
  [13, 'kiln.yaml 10,000 deep', yaml(`a: ${'['.repeat(10_000)}`), 'invalid_yaml', 'kiln.yaml:1:'],
  [
    13,
    'maps in kiln.yaml 10,000 deep',
    yaml('{a: '.repeat(10_000)),
    'invalid_yaml',
    'kiln.yaml:1:',
  ],
]

test.each(rows)('%i %s is refused with its place', (...row) => {
  const [, , attempt, code, place] = row
  expect(attempt).toThrow(
    expect.objectContaining({ code, place: expect.stringContaining(place) as string }),
  )
})

test('what the rows are made from is accepted', () => {
  expect(template(debian)()).toMatchObject({ kind: 'debian' })
  expect(yaml(specification)()).toMatchObject({ app: 'hello' })
  expect(docker(dockerfile('RUN x'))().stages).toHaveLength(1)
  // A shell's own words are the shell's: the engine gets them as one argument, never as a Dockerfile's line.
  expect(value('"$(id) `id` ${B}"')().environments[0]?.definition.config).toEqual({
    A: '$(id) `id` ${B}',
  })
})

const rooms = templateRooms()
const zeros = `sha256:${'0'.repeat(64)}` as ContainerLock['dockerfile']
const edited = (change: (lock: ContainerLock) => ContainerLock) => (room: TemplateRoom) =>
  editLock<ContainerLock>(room, 'node-service', change)
const withText = (from: string, to: string) => async (room: TemplateRoom) => {
  const path = join(room.templatesFolder, 'node-service', 'template.lock')
  await writeFile(path, (await readFile(path, 'utf8')).replace(from, to))
}

type FolderRow = [
  number: number,
  what: string,
  change: (room: TemplateRoom) => Promise<unknown>,
  name: string,
  code: ErrorCode,
]

const folderRows: FolderRow[] = [
  [
    10,
    'a lock of another template',
    edited((one) => ({ ...one, template: zeros })),
    'node-service',
    'lock_mismatch',
  ],
  [
    10,
    'a lock that lacks an input',
    edited((one) => ({ ...one, tools: one.tools.slice(1) })),
    'node-service',
    'lock_mismatch',
  ],
  [
    10,
    'a lock with an extra entry',
    edited((one) => ({ ...one, tools: [...one.tools, { ...one.tools[0]!, npm: 'more' }] })),
    'node-service',
    'lock_mismatch',
  ],
  [
    10,
    'one name with two digests',
    edited((one) => ({ ...one, tools: [...one.tools, { ...one.tools[0]!, sha256: zeros }] })),
    'node-service',
    'lock_mismatch',
  ],
  [
    10,
    'a digest of 63 letters',
    withText('"dockerfile": "sha256:', '"dockerfile": "sha256'),
    'node-service',
    'invalid_yaml',
  ],
  [
    10,
    'a digest in capitals',
    withText('"dockerfile": "sha256:', '"dockerfile": "SHA256:'),
    'node-service',
    'invalid_yaml',
  ],
  [
    10,
    'a lock in another form',
    (room) => append(room, 'node-service/template.lock', ' '),
    'node-service',
    'lock_mismatch',
  ],
  [12, 'a path', async () => {}, '../node-service', 'invalid_input'],
  [12, 'an absolute path', async () => {}, '/etc', 'invalid_input'],
  [12, 'a name with a slash at its end', async () => {}, 'node-service/', 'invalid_input'],
  [12, 'a name of dots', async () => {}, '..', 'invalid_input'],
  [12, 'no name', async () => {}, '', 'invalid_input'],
  [12, 'a name that no template has', async () => {}, 'con', 'not_found'],
  [12, 'a template that is a link', linked, 'linked', 'invalid_input'],
  [12, 'a template.yaml that is a link', linkedFile, 'node-service', 'invalid_input'],
  [
    13,
    'a template that stands on itself',
    standingOn('node-service'),
    'node-service',
    'invalid_input',
  ],
  [13, 'two templates that stand on each other', circle, 'node-service', 'invalid_input'],
]

async function linked({ templatesFolder }: TemplateRoom): Promise<void> {
  await symlink(join(templatesFolder, 'node-service'), join(templatesFolder, 'linked'))
}

async function linkedFile({ templatesFolder }: TemplateRoom): Promise<void> {
  const path = join(templatesFolder, 'node-service', 'template.yaml')
  await rename(path, `${path}.moved`)
  await symlink(`${path}.moved`, path)
}

function standingOn(base: string, name = 'node-service') {
  return async ({ templatesFolder }: TemplateRoom) => {
    const path = join(templatesFolder, name, 'template.yaml')
    await writeFile(path, (await readFile(path, 'utf8')).replace(/^base: .*$/m, `base: ${base}`))
  }
}

async function circle(room: TemplateRoom): Promise<void> {
  const from = join(room.templatesFolder, 'node-service')
  await mkdir(join(room.templatesFolder, 'other'))
  for (const file of ['template.yaml', 'template.lock', 'Dockerfile']) {
    await writeFile(join(room.templatesFolder, 'other', file), await readFile(join(from, file)))
  }
  await standingOn('other')(room)
  await standingOn('node-service', 'other')(room)
}

test.each(folderRows)(
  '%i %s: no build starts from it, and nothing is run or written',
  async (...row) => {
    const [number, , change, name, code] = row
    const room = await rooms.own(nothing)
    await change(room)
    const before = await readdir(room.root, { recursive: true })
    await expect(checkTemplate(room, name)).rejects.toMatchObject({ code })
    expect(await readdir(room.root, { recursive: true })).toEqual(before)
    // Locking anew heals a lock, and refuses what is wrong with the template itself.
    const locks = number === 10 ? [] : [lockTemplate(room, name)]
    expect(await Promise.allSettled(locks)).toEqual(
      locks.map(() => ({
        status: 'rejected',
        reason: expect.objectContaining({ code }) as unknown,
      })),
    )
  },
)
