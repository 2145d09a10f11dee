import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDocker } from '../../src/docker/client.ts'
import { ownImages } from '../../src/docker/prune.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { loadConfig } from '../../src/main/config.ts'
import {
  pruneCaches,
  pruneInstanceImages,
  pruneLogs,
  type PruneInput,
} from '../../src/main/prune.ts'
import { pullFrom } from '../../src/runtime/image.ts'
import { FactLog } from '../helpers/facts.ts'
import { instanceImages } from '../helpers/instance-image.ts'
import { memoryStore } from '../helpers/memory-store.ts'

const day = 24 * 3_600_000
const now = new Date('2026-06-01T00:00:00Z')
let home: string
let log: FactLog

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'kiln-prune-'))
  log = new FactLog()
})
afterEach(() => rm(home, { recursive: true }))

function inputOf(settings: Readonly<Record<string, string>>, dryRun = false): PruneInput {
  return {
    config: loadConfig({ KILN_HOME: home, ...settings }, '/'),
    store: memoryStore().store,
    ledger: async () => log.ledger,
    now: () => now,
    dryRun,
  }
}

/** A file of so many bytes that was last written so many days ago, as was the folder that it is in. */
async function aged(name: string, days: number, bytes = 10): Promise<string> {
  const file = join(home, name)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, Buffer.alloc(bytes))
  const time = new Date(now.getTime() - days * day)
  for (const path of [file, dirname(file)]) await utimes(path, time, time)
  return file
}

test('logs of builds and instances go by age and by size, each within its own bounds', async () => {
  const old = [await aged('logs/builds/a.log', 8), await aged('logs/instances/x.log', 9)]
  const large = await aged('logs/builds/b.log', 3, 900_000)
  const kept = [
    await aged('logs/builds/c.log', 2, 900_000),
    await aged('logs/instances/y.log', 6),
    await aged('logs/instances/now.log', 0),
    await aged('logs/server.log', 100),
  ]
  const settings = { KILN_KEEP_LOGS: '7', KILN_LOGS_MAX: '1Mi' }
  const would = await pruneLogs(inputOf(settings, true))
  expect(would.map(({ name }) => name).toSorted()).toEqual([...old, large].toSorted())
  for (const file of [...old, large, ...kept])
    expect([file, existsSync(file)]).toEqual([file, true])
  expect(await pruneLogs(inputOf(settings))).toEqual(would)
  for (const file of [...old, large]) expect([file, existsSync(file)]).toEqual([file, false])
  for (const file of kept) expect([file, existsSync(file)]).toEqual([file, true])
})

test('caches go by use and size, what a build left goes after hours, the object store never', async () => {
  const gone = [
    await aged('work/cache/index', 31),
    await aged('source/example.test/app.git/HEAD', 40),
    await aged('work/builds/half/context.tar', 0.2),
  ]
  const kept = [
    await aged('work/cache/fresh', 29),
    await aged('source/example.test/other.git/HEAD', 3),
    await aged('work/builds/running/context.tar', 0.1),
    await aged('store/blobs/sha256/old', 4000),
  ]
  await pruneCaches(inputOf({}))
  for (const file of gone) expect([file, existsSync(file)]).toEqual([file, false])
  for (const file of kept) expect([file, existsSync(file)]).toEqual([file, true])
})

test('of the images of instances those stay that an environment needs, and all of other Kilns', async () => {
  const docker = createDocker({ socketPath: '/var/run/docker.sock' })
  const [images, others] = [await instanceImages(docker), await instanceImages(docker)]
  const pulled = async (from: typeof images, name: string): Promise<Digest> => {
    const digest = await from.publish('pruned', { env: { NAME: name } })
    const signal = AbortSignal.timeout(100_000)
    await pullFrom(docker, from.registry)({ app: 'pruned', digest, signal })
    return digest
  }
  try {
    const served = [await pulled(images, '1'), await pulled(images, '2'), await pulled(images, '3')]
    const foreign = await pulled(others, '4')
    for (const digest of served) log.promote('pruned/prod', digest)
    const input = inputOf({
      KILN_REGISTRY_PORT: images.registry.address.split(':')[1] ?? '',
      KILN_KEEP_GOOD: '1',
    })
    const removed = await pruneInstanceImages(docker, input)
    // The second is what the active key would roll back to.
    expect(removed.map(({ name }) => name.split('@')[1])).toEqual([served[0]])
    const left = await ownImages(docker, images.registry.address)
    expect(left.map(({ digest }) => digest).toSorted()).toEqual(served.slice(1).toSorted())
    const theirs = await ownImages(docker, others.registry.address)
    expect(theirs.map(({ digest }) => digest)).toEqual([foreign])
  } finally {
    await Promise.all([images.close(), others.close()])
  }
}, 120_000)
