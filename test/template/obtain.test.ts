import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { blobKey } from '../../src/store/blob-store.ts'
import { checkTemplate } from '../../src/template/check-template.ts'
import type { ContainerLock, LockedPackage } from '../../src/template/lock-file.ts'
import { drop, ownMirror, packageNamed, readLock, templateRooms, without } from './own-room.ts'

const rooms = templateRooms()

let servers: Server[] = []
afterEach(() => {
  for (const server of servers) server.close()
  servers = []
})

test('a package that the store lacks comes back from the mirror', async () => {
  const room = await rooms.own(without('mmdebstrap', 'npm'))
  const lost = await packageNamed(room, 'libstdc++6')
  const aptSources = await ownMirror(room, [lost])
  await drop(room, lost.sha256)
  await checkTemplate({ ...room, aptSources }, 'node-service')
  expect(await room.store.size(blobKey(lost.sha256))).toBe(lost.size)
})

test('a mirror with other bytes under the locked version is refused', async () => {
  const room = await rooms.own(without('mmdebstrap', 'npm'))
  const lost = await packageNamed(room, 'dash')
  // The date in the archive's header: still a package, and not the locked one.
  const aptSources = await ownMirror(room, [lost], (bytes) =>
    Buffer.concat([bytes.subarray(0, 24), Buffer.from('1000000000'), bytes.subarray(34)]),
  )
  await drop(room, lost.sha256)
  await expect(checkTemplate({ ...room, aptSources }, 'node-service')).rejects.toMatchObject({
    code: 'lock_mismatch',
    message: expect.stringContaining(`dash ${lost.version}`),
  })
  expect(await room.store.size(blobKey(lost.sha256))).toBeUndefined()
})

test('a mirror that moved on: the error names the package and the command that locks anew', async () => {
  const room = await rooms.own(without('mmdebstrap', 'npm'))
  const lost = await packageNamed(room, 'dash')
  const aptSources = await ownMirror(room, [await packageNamed(room, 'sed')])
  await drop(room, lost.sha256)
  await expect(checkTemplate({ ...room, aptSources }, 'node-service')).rejects.toMatchObject({
    code: 'input_unavailable',
    message: expect.stringContaining(`dash ${lost.version}`),
    fix: 'kiln template lock debian-base',
    lines: [`dash ${lost.version}`],
  })
})

/** Answers as the snapshot archive does, with these bytes for one package. */
async function snapshotOf(lost: LockedPackage, bytes: Buffer): Promise<string> {
  const sha1 = 'b'.repeat(40)
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '')
    if (path === `/mr/binary/${lost.name}/${lost.version}/binfiles?fileinfo=1`) {
      response.end(
        JSON.stringify({
          fileinfo: { ['a'.repeat(40)]: [{ size: 1 }], [sha1]: [{ size: lost.size }] },
        }),
      )
    } else if (path === `/file/${sha1}`) response.end(bytes)
    else response.writeHead(404).end()
  }).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

test('what the mirror dropped comes from the snapshot service', async () => {
  const room = await rooms.own(without('mmdebstrap', 'npm'))
  const lost = await packageNamed(room, 'libcap2')
  const bytes = await readFile(join(room.root, 'store', blobKey(lost.sha256)))
  const aptSources = await ownMirror(room, [await packageNamed(room, 'sed')])
  await drop(room, lost.sha256)
  const snapshot = await snapshotOf(lost, bytes)
  await checkTemplate({ ...room, aptSources, snapshot }, 'node-service')
  expect(await room.store.size(blobKey(lost.sha256))).toBe(lost.size)
})

test.each([
  ['other bytes', (bytes: Buffer) => Buffer.alloc(bytes.length)],
  ['too many bytes', (bytes: Buffer) => Buffer.concat([bytes, bytes])],
])('a snapshot service that gives %s gives nothing', async (_what, change) => {
  const room = await rooms.own(without('mmdebstrap', 'npm'))
  const lost = await packageNamed(room, 'dash')
  const bytes = await readFile(join(room.root, 'store', blobKey(lost.sha256)))
  const aptSources = await ownMirror(room, [await packageNamed(room, 'sed')])
  await drop(room, lost.sha256)
  const snapshot = await snapshotOf(lost, change(bytes))
  await expect(
    checkTemplate({ ...room, aptSources, snapshot }, 'node-service'),
  ).rejects.toMatchObject({
    code: 'input_unavailable',
  })
  expect(await room.store.size(blobKey(lost.sha256))).toBeUndefined()
})

test('a tool that store and registry lack is named', async () => {
  const room = await rooms.own(async (command) => ({
    exitCode: 1,
    stdout: '',
    stderr: `${command.file}: no such version`,
  }))
  const [, npm] = (await readLock<ContainerLock>(room, 'node-service')).tools
  await drop(room, npm!.sha256)
  await expect(checkTemplate(room, 'node-service')).rejects.toMatchObject({
    code: 'input_unavailable',
    message: expect.stringContaining('npm@11.19.1'),
    fix: 'kiln template lock node-service',
  })
})
