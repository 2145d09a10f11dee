import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createDocker } from '../../src/docker/client.ts'
import { removeContainer } from '../../src/docker/containers.ts'
import { ownImages, releaseImage } from '../../src/docker/prune.ts'
import { pullFrom } from '../../src/runtime/image.ts'
import { instanceImages, type InstanceImages } from '../helpers/instance-image.ts'
import type { Digest } from '../../src/domain/digest.ts'

const docker = createDocker({ socketPath: '/var/run/docker.sock' })
let images: InstanceImages

vi.setConfig({ testTimeout: 180_000 })

beforeAll(async () => {
  images = await instanceImages(docker)
}, 60_000)
afterAll(() => images.close())

async function pulled(name: string): Promise<{ digest: Digest; reference: string }> {
  const digest = await images.publish('pruned', { env: { NAME: name } })
  await pullFrom(
    docker,
    images.registry,
  )({ app: 'pruned', digest, signal: AbortSignal.timeout(170_000) })
  return { digest, reference: `${images.registry.address}/pruned@${digest}` }
}

async function names(): Promise<string[]> {
  return (await ownImages(docker, images.registry.address)).map((one) => one.reference)
}

test('only what was pulled from this registry is found, and only it is removed', async () => {
  const [one, two] = [await pulled('one'), await pulled('two')]
  expect((await names()).toSorted()).toEqual([one.reference, two.reference].toSorted())
  // Another registry's name that begins alike is another registry.
  expect(await ownImages(docker, images.registry.address.slice(0, -1))).toEqual([])
  expect(await releaseImage(docker, one.reference)).toBe(true)
  expect(await names()).toEqual([two.reference])
  await expect(docker.getImage(one.reference).inspect()).rejects.toThrow('No such image')
  await docker.getImage(two.reference).inspect()
  expect(await releaseImage(docker, one.reference)).toBe(true)
})

test('an image whose container exists is left: nothing is forced', async () => {
  const { reference } = await pulled('used')
  const container = await docker.createContainer({ Image: reference })
  try {
    expect(await releaseImage(docker, reference)).toBe(false)
    expect(await names()).toContain(reference)
  } finally {
    await removeContainer(docker, container.id)
  }
  expect(await releaseImage(docker, reference)).toBe(true)
})

test('an image that somebody tagged loses Kiln’s name and nothing else', async () => {
  const { reference } = await pulled('tagged')
  const tag = { repo: 'kiln-test-prune', tag: crypto.randomUUID() }
  await docker.getImage(reference).tag(tag)
  try {
    await releaseImage(docker, reference)
    expect(await names()).not.toContain(reference)
    await docker.getImage(`${tag.repo}:${tag.tag}`).inspect()
  } finally {
    await docker.getImage(`${tag.repo}:${tag.tag}`).remove()
  }
})
