import { afterAll, beforeAll, expect, test } from 'vitest'
import { pullByDigest } from '../../src/docker/images.ts'
import { encodeName } from '../../src/oci/entry-name.ts'
import type { BuildRoom } from '../helpers/build-room.ts'
import { buildRoom, busyboxBase } from '../helpers/build-room.ts'
import { collect, sample, samplesOf } from '../helpers/tar.ts'

let room: BuildRoom

beforeAll(async () => {
  room = await buildRoom()
})

afterAll(() => room.close())

const capability =
  '\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'

/** What tar libraries lose and images hold, below a folder of its own. */
const exotic = [
  sample('exotic/', { type: 'directory', mode: 0o1777 }),
  sample('exotic/big-owner', { uid: 4_000_000_000, gid: 3_000_000, content: 'x' }),
  sample('exotic/capable', {
    content: 'y',
    mode: 0o755,
    xattrs: new Map([['security.capability', capability]]),
  }),
  sample(`exotic/${encodeName('ünïcode')}`, { content: 'u' }),
  sample('exotic/\xff\xfe', { content: 'no utf-8' }),
  sample('exotic/setuid', { mode: 0o6755, content: 's' }),
  sample('exotic/far-future', { mtime: 4_200_000_000 }),
  sample('exotic/soft', { type: 'symlink', mode: 0o777, linkname: 'capable' }),
  sample('exotic/pipe', { type: 'fifo', mode: 0o600 }),
  sample(`exotic/${'n'.repeat(200)}`, { content: 'long' }),
  sample('exotic/z-hard', { type: 'link', linkname: 'exotic/setuid', mode: 0o6755 }),
]

function byName(left: { name: string }, right: { name: string }): number {
  return left.name < right.name ? -1 : 1
}

test('the engine takes our layers, and what it gives out again is what we wrote', async () => {
  const digest = await busyboxBase(room.store, exotic)
  const { registry } = room.deps
  await registry.publish({ repository: 'kiln/base', manifest: digest })
  const image = { repository: `${registry.address}/kiln/base`, digest }
  const reference = await pullByDigest(room.docker, image, { auth: registry.auth })
  const container = await room.docker.createContainer({ Image: reference, Cmd: ['sh'] })
  try {
    const exported = await collect((await container.export()) as AsyncIterable<Uint8Array>)
    const found = await samplesOf(exported)
    const names = new Set(exotic.map(({ name }) => name))
    const ours = found.filter(({ name }) => names.has(name))
    // A container's own file system has the time of its unpacking on some entries.
    const timeless = (samples: typeof found) =>
      samples.map(({ mtime: _mtime, ...one }) => one).toSorted(byName)
    expect(timeless(ours)).toEqual(timeless(exotic))
    expect(ours.find(({ name }) => name === 'exotic/far-future')?.mtime).toBe(4_200_000_000)
  } finally {
    await container.remove({ v: true })
  }
})
