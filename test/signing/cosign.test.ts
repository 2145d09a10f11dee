import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bundleBytes, withoutLogEntry, type LoggedBundle } from '../../signing/bundle.ts'
import { canonicalJson, digestOf } from '../../signing/canonical.ts'
import { cosignCommand } from '../../signing/cosign.ts'
import { publicKeyFile, writeTrust } from '../../signing/trust-files.ts'
import { verifyBundle } from '../../signing/verify.ts'
import { cosignBlob, offlineIn } from '../helpers/cosign-blob.ts'
import { findTool } from '../helpers/find-tool.ts'
import { signedLog, type SignedLog } from '../helpers/signed-log.ts'
import { example } from './examples.ts'
import { tinyRegistry } from './tiny-registry.ts'

/** What Kiln signs and logs, in the hands of the real cosign. */

const artifact = canonicalJson({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: {
    mediaType: 'application/vnd.oci.empty.v1+json',
    digest: digestOf(Buffer.from('{}')),
    size: 2,
  },
  layers: [],
})
const digest = digestOf(artifact)

let folder: string
let log: SignedLog
let bundle: LoggedBundle
let cosign: string

beforeAll(async () => {
  cosign = findTool('cosign')
  folder = await mkdtemp(join(tmpdir(), 'kiln cosign-'))
  log = signedLog()
  for (const seed of [1, 2, 3]) await log.add(example('sealed', seed))
  const key = example('key')
  await log.add({ ...key, body: { ...key.body, digest } })
  await log.add(example('sealed', 4))
  bundle = log.bundleAt(3)
  await writeTrust(join(folder, 'trust'), log.trust)
  await writeTrust(join(folder, 'other'), signedLog().trust)
  await writeFile(join(folder, 'artifact'), artifact)
})

afterAll(() => rm(folder, { recursive: true, force: true }))

const offline = () => offlineIn(folder)
const verifyBlob = (bytes: Uint8Array, key?: string, trust?: string) =>
  cosignBlob(folder, bytes, {
    ...(key === undefined ? {} : { key }),
    ...(trust === undefined ? {} : { trust }),
  })

test('cosign accepts a provisioning key from files alone, and so does Kiln', async () => {
  expect(verifyBundle(bundle, log.trust, { kind: 'key', subject: digest }).index).toBe(3)
  const { exitCode, stderr } = await verifyBlob(bundleBytes(bundle))
  expect(stderr).toContain('Verified OK')
  expect(exitCode).toBe(0)
})

function flipped(text: string): string {
  const bytes = Buffer.from(text, 'base64')
  bytes[bytes.length - 3]! ^= 1
  return bytes.toString('base64')
}

test('cosign refuses whatever is not this key about this artifact in this log', async () => {
  const envelope = bundle.dsseEnvelope
  const [entry] = bundle.verificationMaterial.tlogEntries
  const proof = entry.inclusionProof
  const [swapped] = log.bundleAt(4).verificationMaterial.tlogEntries
  const withEntry = (one: unknown) => {
    const verificationMaterial = { ...bundle.verificationMaterial, tlogEntries: [one] }
    return canonicalJson({ ...bundle, verificationMaterial })
  }
  const whole = bundleBytes(bundle)
  const own = signedLog('kiln.local', log.keys)
  const denied = bundleBytes(
    await own.add({ ...example('denial'), artifact: digest, app: 'hello' }),
  )
  const elsewhere = bundleBytes(await own.add(example('key')))
  const asked: Record<string, Parameters<typeof verifyBlob>> = {
    'a flipped byte': [
      canonicalJson({
        ...bundle,
        dsseEnvelope: { ...envelope, payload: flipped(envelope.payload) },
      }),
    ],
    'a bad proof': [
      withEntry({
        ...entry,
        inclusionProof: { ...proof, hashes: proof.hashes.with(0, flipped(proof.hashes[0]!)) },
      }),
    ],
    'the entry of another statement': [withEntry(swapped)],
    'no entry': [bundleBytes(withoutLogEntry(bundle))],
    "another role's key": [whole, 'trust/build.pub'],
    'another log': [whole, 'trust/promote.pub', 'other'],
    'a key for another artifact': [elsewhere],
    'a denial of it, under the promote key': [denied],
  }
  const accepted: string[] = []
  for (const [what, input] of Object.entries(asked)) {
    if ((await verifyBlob(...input)).exitCode === 0) accepted.push(what)
  }
  expect(accepted).toEqual([])
  // cosign goes on to read the bundles of before; Kiln makes none, and takes none.
  const old = { ...bundle, mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.2' }
  expect(() => verifyBundle(old, log.trust, { kind: 'key' })).toThrow('not a bundle of Kiln')
})

test('after a rotation cosign accepts old keys by the old key, new ones by the new one, never crosswise', async () => {
  const own = signedLog()
  const key = example('key')
  await own.add({ ...key, body: { ...key.body, digest } })
  await own.rotate('promote')
  await own.add({ ...key, body: { ...key.body, digest, sequence: key.body.sequence + 1 } })
  await writeTrust(join(folder, 'rotated'), own.trust)
  const [before, after] = [bundleBytes(own.bundleAt(0)), bundleBytes(own.bundleAt(2))]
  const [old, now] = own.trust.roles
    .filter(({ role }) => role === 'promote')
    .map((one) => `rotated/${publicKeyFile(one)}`)
  expect(now).toBe('rotated/promote.pub')
  const verdicts = [
    await verifyBlob(before, old, 'rotated'),
    await verifyBlob(after, now, 'rotated'),
    await verifyBlob(before, now, 'rotated'),
    await verifyBlob(after, old, 'rotated'),
  ]
  expect(verdicts.map(({ exitCode }) => exitCode === 0)).toEqual([true, true, false, false])
  for (const index of [0, 2]) verifyBundle(own.bundleAt(index), own.trust, { kind: 'key' })
})

test('the printed line verifies the key on a registry that wants a sign-in', async () => {
  const registry = await tinyRegistry(bundleBytes(bundle), 'kiln:secret', artifact)
  try {
    const host = `127.0.0.1:${registry.port}`
    const config = join(folder, 'docker')
    await mkdir(config, { recursive: true })
    await writeFile(
      join(config, 'config.json'),
      JSON.stringify({ auths: { [host]: { auth: btoa('kiln:secret') } } }),
    )
    const reference = `${host}/hello@${digest}`
    const line = (trust: string) =>
      cosignCommand({
        trust: join(folder, trust),
        key: 'promote.pub',
        reference,
        dockerConfig: config,
      })
    expect(line('trust')).toMatch(/^DOCKER_CONFIG='[^']+' cosign verify-attestation --key /)
    expect(line('trust')).not.toContain('insecure')
    const run = (command: string) => {
      const options = offline()
      const env = { ...options.env, PATH: `${dirname(cosign)}:/bin:/usr/bin` }
      return execa('sh', ['-c', command], { ...options, env })
    }
    const good = await run(line('trust'))
    expect(good.stderr).toContain('transparency log')
    expect(good.exitCode).toBe(0)
    expect((await run(line('other'))).exitCode).not.toBe(0)
  } finally {
    await registry.close()
  }
})
