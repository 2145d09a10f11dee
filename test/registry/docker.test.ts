import { mkdtemp, readFile, rm, writeFile, chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import Docker from 'dockerode'
import { execa } from 'execa'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseDigest } from '../../src/domain/digest.ts'
import { attachReferrer } from '../../src/registry/publish.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { findTool } from '../helpers/find-tool.ts'
import {
  authconfig,
  follow,
  publishImage,
  registryAtHand,
  tarOf,
  type Who,
} from './registry-at-hand.ts'

let hand: Awaited<ReturnType<typeof registryAtHand>>
const docker = new Docker({ socketPath: '/var/run/docker.sock' })
const images: string[] = []

beforeAll(async () => {
  hand = await registryAtHand()
})
afterAll(async () => {
  for (const image of images)
    await docker
      .getImage(image)
      .remove({ force: true })
      .catch(() => null)
  await hand.close()
})

async function pull(digest: string, who: Who): Promise<string> {
  const reference = `127.0.0.1:${hand.port}/hello@${digest}`
  images.push(reference)
  await follow(await docker.pull(reference, { authconfig: authconfig(who, hand.port) }))
  return reference
}

test('docker push is captured, and the same engine does not push a base that it pulled', async () => {
  const base = await publishImage(hand.store, 'hello', { base: `${Math.random()}` })
  const reference = await pull(base.digest, 'build')
  const target = `127.0.0.1:${hand.port}/capture/one`
  images.push(`${target}:build`)
  const container = await docker.createContainer({ Image: reference, Cmd: ['/none'] })
  await container.putArchive(await tarOf({ added: 'by the build' }), { path: '/' })
  await container.commit({ repo: target, tag: 'build' })
  await container.remove()
  const before = await hand.store.size(blobKey(base.layer))
  await follow(
    await docker
      .getImage(`${target}:build`)
      .push({ authconfig: authconfig('build', hand.port), tag: 'build' }),
  )
  expect(before).toBeGreaterThan(0)
  const taken = hand.capture.take({ name: 'capture/one', reference: 'build' })
  const manifest = JSON.parse(Buffer.from(taken?.bytes ?? []).toString()) as {
    layers: { digest: string; mediaType: string }[]
  }
  expect(manifest.layers).toHaveLength(2)
  expect(manifest.layers[0]?.digest).toBe(base.layer)
  const layer = await hand.store.get(blobKey(parseDigest(manifest.layers[1]?.digest ?? '')))
  expect(gunzipSync(layer ?? new Uint8Array()).includes('by the build')).toBe(true)
})

test('docker pulls by digest, the same bytes, and only with the right password', async () => {
  const image = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
  await pull(image.digest, 'reader')
  const found = await docker.getImage(`127.0.0.1:${hand.port}/hello@${image.digest}`).inspect()
  expect(found.RepoDigests).toContain(`127.0.0.1:${hand.port}/hello@${image.digest}`)
  expect(found.Id).toBe(image.config)
  expect(found.RootFS.Layers).toEqual([image.layer])
  const other = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
  const wrong = { ...authconfig('reader', hand.port), password: 'wrong' }
  const refused = async () =>
    follow(await docker.pull(`127.0.0.1:${hand.port}/hello@${other.digest}`, { authconfig: wrong }))
  await expect(refused()).rejects.toThrow(/unauthorized|no basic auth|authentication required/)
})

test('docker refuses a layer, a config and a manifest that were tampered with', async () => {
  const refusals = [
    { part: 'layer', flip: 1, says: /digest|verif|mismatch/ },
    { part: 'config', flip: 1, says: /digest|verif|mismatch/ },
    // A hex digit into another, and into a byte that is no text: the registry itself sees both.
    { part: 'digest', flip: 1, says: /was damaged in the store/ },
    { part: 'digest', flip: 0x80, says: /was damaged in the store/ },
  ] as const
  for (const { part, flip, says } of refusals) {
    const image = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
    const file = join(hand.root, blobKey(image[part]))
    const bytes = Buffer.from((await hand.store.get(blobKey(image[part]))) ?? [])
    bytes[bytes.length - 30] = (bytes[bytes.length - 30] ?? 0) ^ flip
    await chmod(file, 0o600)
    await writeFile(file, bytes)
    await expect(pull(image.digest, 'reader')).rejects.toThrow(says)
    await expect(
      docker.getImage(`127.0.0.1:${hand.port}/hello@${image.digest}`).inspect(),
    ).rejects.toMatchObject({ statusCode: 404 })
  }
})

test('a host pulls what is admissible; a digest that is admissible nowhere is not served', async () => {
  const good = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
  const bad = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
  hand.admissible.add(good.digest)
  await pull(good.digest, 'host')
  await expect(pull(bad.digest, 'host')).rejects.toThrow(/denied|no environment may start/)
})

test('skopeo inspects, copies with every digest kept, and pushes into the capture', async () => {
  const image = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
  await attachReferrer(hand.store, {
    repository: 'hello',
    subject: image,
    artifactType: 'application/x',
    mediaType: 'application/x',
    content: Buffer.from('x'),
  })
  const folder = await mkdtemp(join(tmpdir(), 'kiln-skopeo-'))
  try {
    const from = `docker://127.0.0.1:${hand.port}/hello@${image.digest}`
    const creds = ['--tls-verify=false', '--creds=reader:reader-password']
    const { stdout } = await execa('skopeo', ['inspect', ...creds, from])
    expect(JSON.parse(stdout)).toMatchObject({ Digest: image.digest, Layers: [image.layer] })
    await execa('skopeo', [
      'copy',
      '--preserve-digests',
      '--src-tls-verify=false',
      '--src-creds=reader:reader-password',
      from,
      `oci:${folder}:x`,
    ])
    const to = `docker://127.0.0.1:${hand.port}/copied:t`
    const push = ['--dest-tls-verify=false', '--dest-creds=build:build-password']
    await execa('skopeo', ['copy', '--preserve-digests', ...push, `oci:${folder}:x`, to])
    expect(hand.capture.take({ name: 'copied', reference: 't' })?.digest).toBe(image.digest)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('crane reads, validates and pulls by digest, and only with the right password', async () => {
  const image = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
  const folder = await mkdtemp(join(tmpdir(), 'kiln-crane-'))
  const host = `127.0.0.1:${hand.port}`
  const auth = (words: string) => ({
    auths: { [host]: { auth: Buffer.from(words).toString('base64') } },
  })
  const crane = async (words: string, ...args: string[]) => {
    await writeFile(join(folder, 'config.json'), JSON.stringify(auth(words)))
    const env = { HOME: folder, DOCKER_CONFIG: folder }
    return execa(findTool('crane'), args, { env, extendEnv: false, reject: false })
  }
  try {
    const reference = `${host}/hello@${image.digest}`
    const manifest = await crane('reader:reader-password', 'manifest', reference)
    expect(JSON.parse(manifest.stdout)).toMatchObject({ layers: [{ digest: image.layer }] })
    // --fast: without it crane takes every layer for gzip; the pull below reads them.
    const valid = await crane('reader:reader-password', 'validate', '--fast', '--remote', reference)
    expect(`${valid.exitCode} ${valid.stdout}${valid.stderr}`).toContain(`0 PASS: ${reference}`)
    const to = join(folder, 'layout')
    const pulled = await crane('reader:reader-password', 'pull', '--format', 'oci', reference, to)
    expect(pulled.exitCode).toBe(0)
    expect(await readFile(join(to, 'index.json'), 'utf8')).toContain(image.digest)
    const refused = await crane('reader:wrong', 'manifest', reference)
    expect(refused.exitCode).not.toBe(0)
    expect(refused.stderr).toContain('UNAUTHORIZED')
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a pull that the client breaks off leaves the registry answering', async () => {
  const big = await hand.store.putBlob(Readable.from([Buffer.alloc(32 * 1024 * 1024)]))
  const abort = new AbortController()
  const answer = await hand.ask(`/v2/hello/blobs/${big.digest}`, {
    signal: abort.signal,
    who: 'build',
  })
  expect(answer.status).toBe(200)
  await answer.body?.getReader().read()
  abort.abort()
  expect((await hand.ask('/v2/')).status).toBe(200)
})
