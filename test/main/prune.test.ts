import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { canonicalJson } from '../../signing/canonical.ts'
import { markBuild, unmarkBuild } from '../../src/build/engine-marks.ts'
import { baseRepository, captureName, fetchRepository } from '../../src/build/names.ts'
import { createDocker } from '../../src/docker/client.ts'
import { ownImages } from '../../src/docker/prune.ts'
import type { Digest } from '../../src/domain/digest.ts'
import type { Fact } from '../../src/domain/statement.ts'
import { loadConfig } from '../../src/main/config.ts'
import {
  pruneBuildImages,
  pruneCaches,
  pruneInstanceImages,
  pruneLogs,
  type PruneInput,
} from '../../src/main/prune.ts'
import { pullFrom } from '../../src/runtime/image.ts'
import { digestFor, FactLog, type Said } from '../helpers/facts.ts'
import { instanceImages, type InstanceImages } from '../helpers/instance-image.ts'
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

const portOf = ({ registry }: InstanceImages) => registry.address.split(':')[1] ?? ''
const namesOf = (removed: readonly { name: string }[]) =>
  removed.map(({ name }) => name.slice(name.indexOf('/') + 1)).toSorted()

/** An artifact of a template whose lock names these images. */
async function sealedWith(
  { store }: PruneInput,
  name: string,
  lock: { template: string; base: Digest; fetch: Digest | null },
): Promise<Digest> {
  const model = new FactLog()
  model.seal(name)
  const [{ leaf: _leaf, index: _index, time: _time, ...said }] = model.facts as [Fact]
  const sealed = said as Extract<Said, { kind: 'sealed' }>
  const template = { name: lock.template, lock: digestFor(`lock of ${name}`) }
  log.add({ ...sealed, body: { ...sealed.body, template } })
  const { base, fetch } = lock
  const key = `templates/checked/${template.lock.slice('sha256:'.length)}`
  await store.put(key, canonicalJson({ images: { base, fetch } }))
  return digestFor(name)
}

describe('images in the engine', () => {
  const docker = createDocker({ socketPath: '/var/run/docker.sock' })
  let images: InstanceImages
  let others: InstanceImages
  beforeAll(async () => {
    ;[images, others] = [await instanceImages(docker), await instanceImages(docker)]
  }, 120_000)
  afterAll(async () => {
    await Promise.all([images.close(), others.close()])
  })

  async function pulled(from: InstanceImages, name: string, app = 'pruned'): Promise<Digest> {
    const digest = await from.publish(app, { env: { NAME: name } })
    const signal = AbortSignal.timeout(100_000)
    await pullFrom(docker, from.registry)({ app, digest, signal })
    return digest
  }
  const leftOf = async ({ registry }: InstanceImages, app = 'pruned') =>
    (await ownImages(docker, registry.address))
      .filter(({ reference }) => reference.includes(`/${app}@`))
      .map(({ digest }) => digest)
      .toSorted()
  test('of instances: those stay that an environment needs, and all of other Kilns', async () => {
    const served = [await pulled(images, '1'), await pulled(images, '2'), await pulled(images, '3')]
    const foreign = await pulled(others, '4')
    for (const digest of served) log.promote('pruned/prod', digest)
    const input = inputOf({ KILN_REGISTRY_PORT: portOf(images), KILN_KEEP_GOOD: '1' })
    const removed = await pruneInstanceImages(docker, input)
    // The second is what the active key would roll back to.
    expect(namesOf(removed)).toEqual([`pruned@${served[0]}`])
    expect(await leftOf(images)).toEqual(served.slice(1).toSorted())
    expect(await leftOf(others)).toEqual([foreign])
  }, 120_000)

  test('of builds: bases stay of each newest template and of what an environment needs; nothing goes while a build of this Kiln runs', async () => {
    const builder = `prune${process.pid}`
    const input = inputOf({ KILN_BUILD_REGISTRY_PORT: portOf(images), KILN_HOST: builder })
    const base = (name: string) => pulled(images, name, baseRepository)
    const bases = {
      old: await base('old'),
      active: await base('active'),
      newest: await base('newest'),
      other: await base('other'),
      ofNone: await base('none'),
    }
    const fetch = await pulled(images, 'fetch', fetchRepository)
    const captured = await pulled(images, 'captured', captureName('build'))
    const foreign = await pulled(others, 'foreign', baseRepository)
    const template = 'node-service'
    await sealedWith(input, 'one', { template, base: bases.old, fetch: null })
    const two = await sealedWith(input, 'two', { template, base: bases.active, fetch: null })
    await sealedWith(input, 'three', { template: 'site', base: bases.other, fetch: null })
    await sealedWith(input, 'four', { template, base: bases.newest, fetch })
    log.promote('hello/prod', two)
    const all = Object.values(bases).toSorted()
    const going = [bases.old, bases.ofNone].map((one) => `${baseRepository}@${one}`).toSorted()

    expect(namesOf(await pruneBuildImages(docker, { ...input, dryRun: true }))).toEqual(going)
    const own = await markBuild(docker, { builder, build: 'b', base: bases.old })
    const elsewhere = { builder: `${builder}other`, build: 'b', base: bases.old }
    const theirs = await markBuild(docker, elsewhere)
    try {
      expect(await pruneBuildImages(docker, input)).toEqual([])
      expect(await leftOf(images, baseRepository)).toEqual(all)
      await unmarkBuild(docker, own.name)
      expect(namesOf(await pruneBuildImages(docker, input))).toEqual(going)
    } finally {
      for (const { name } of [own, theirs]) await unmarkBuild(docker, name)
    }
    expect(await leftOf(images, baseRepository)).toEqual(
      [bases.active, bases.newest, bases.other].toSorted(),
    )
    expect(await leftOf(images, fetchRepository)).toEqual([fetch])
    expect(await leftOf(images, captureName('build'))).toEqual([captured])
    expect(await leftOf(others, baseRepository)).toEqual([foreign])
  }, 120_000)
})
