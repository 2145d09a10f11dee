import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { digestOf, digestOfJson } from '../../signing/canonical.ts'
import { hexOf } from '../../src/domain/digest.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { checkLock, checkTemplate } from '../../src/template/check-template.ts'
import { runCommand, type Run } from '../../src/template/command.ts'
import { debianInputs } from '../../src/template/image-inputs.ts'
import { showTemplate } from '../../src/template/list-templates.ts'
import type { ContainerLock, DebianLock } from '../../src/template/lock-file.ts'
import { lockTemplate } from '../../src/template/lock-template.ts'
import {
  append,
  drop,
  editLock,
  nothing,
  packageNamed,
  readLock,
  templateRooms,
  without,
} from './own-room.ts'

const rooms = templateRooms()

test('images that the store lost are made again from the locked inputs, and are the locked ones', async () => {
  const room = await rooms.own(nothing)
  const { images } = await readLock<ContainerLock>(room, 'node-service')
  await drop(room, images.base)
  await drop(room, images.fetch!)
  expect((await checkTemplate(room, 'node-service')).images).toEqual(images)
})

test('locked inputs that make another image than the lock says are not reproducible', async () => {
  const room = await rooms.own(nothing)
  await rm(join(room.root, 'store', 'templates'), { recursive: true })
  const { images } = await readLock<DebianLock>(room, 'debian-base')
  const record = { version: 1, images: { ...images, fetch: null }, inputs: {} }
  const lock = await readLock<DebianLock>(room, 'debian-base')
  const { template } = await showTemplate(room.templatesFolder, 'debian-base')
  if (template.kind !== 'debian') throw new Error('not a Debian template')
  const inputs = debianInputs(template, lock)
  await room.store.put(
    `templates/inputs/${hexOf(digestOfJson(inputs))}`,
    Buffer.from(JSON.stringify({ ...record, inputs })),
  )
  // The template with the least to make.
  await editLock<ContainerLock>(room, 'static-site', (container) => ({
    ...container,
    images: { ...container.images, base: images.base },
  }))
  await expect(checkTemplate(room, 'static-site')).rejects.toMatchObject({
    code: 'not_reproducible',
    fix: 'kiln template lock static-site',
  })
})

test('a flipped byte in a stored package stops the build of the root file system', async () => {
  const room = await rooms.own(without('mmdebstrap', 'npm'))
  const flipped = await packageNamed(room, 'dash')
  const path = join(room.root, 'store', blobKey(flipped.sha256))
  const bytes = await readFile(path)
  bytes[bytes.length - 5]! ^= 1
  // A new file: the old one is linked to the shared store.
  await writeFile(`${path}.new`, bytes)
  await rename(`${path}.new`, path)
  await drop(room, (await readLock<DebianLock>(room, 'debian-base')).images.base)
  await expect(checkTemplate(room, 'node-service')).rejects.toMatchObject({
    code: 'digest_mismatch',
    message: expect.stringContaining('dash'),
  })
})

/** mmdebstrap under another clock, time zone and umask. */
const elsewhere: Run = async (command) => {
  if (command.file !== 'unshare') return await runCommand(command)
  return await runCommand({
    ...command,
    file: 'sh',
    arguments: ['-c', 'umask 077; exec "$@"', 'sh', command.file, ...command.arguments],
    environment: {
      ...command.environment,
      TZ: 'Asia/Tokyo',
      LD_PRELOAD: '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1',
      FAKETIME: '+40d',
      NO_FAKE_STAT: '1',
    },
  })
}

test('the other clock is one', async () => {
  const { stdout } = await elsewhere({
    file: 'unshare',
    arguments: ['--net', 'date', '+%s'],
    cwd: tmpdir(),
    environment: { PATH: '/usr/bin:/bin' },
    timeoutMs: 10_000,
  })
  expect(Number(stdout)).toBeGreaterThan(Date.now() / 1000 + 39 * 86_400)
})

test('a root file system made under another clock, time zone and umask has the same digest', async () => {
  const room = await rooms.own(elsewhere)
  const { images } = await readLock<DebianLock>(room, 'debian-base')
  const manifest = JSON.parse(
    await readFile(join(room.root, 'store', blobKey(images.base)), 'utf8'),
  )
  await drop(room, manifest.layers[0].digest)
  await rm(join(room.root, 'store', 'templates'), { recursive: true })
  await checkLock(room, 'debian-base')
  expect(await room.store.size(blobKey(manifest.layers[0].digest))).toBe(manifest.layers[0].size)
}, 300_000)

test('locking again with nothing new changes nothing and fetches no tool again', async () => {
  const room = await rooms.own(nothing)
  const before = await readFile(join(room.templatesFolder, 'node-service', 'template.lock'))
  expect(await lockTemplate(room, 'node-service')).toEqual({
    lock: digestOf(before),
    changed: false,
  })
})

test('locking anew accepts what changed, and the check then holds', async () => {
  const room = await rooms.own(nothing)
  await append(room, 'node-service/Dockerfile', 'LABEL a=b\n')
  const { changed, lock } = await lockTemplate(room, 'node-service')
  expect(changed).toBe(true)
  expect((await checkTemplate(room, 'node-service')).lock).toBe(lock)
})

test('a missing program is named with what installs it', async () => {
  await expect(
    runCommand({
      file: 'no-such-program',
      arguments: [],
      cwd: tmpdir(),
      environment: null,
      timeoutMs: 1000,
    }),
  ).rejects.toMatchObject({
    code: 'prerequisite_missing',
    fix: expect.stringContaining('no-such-program'),
  })
})
