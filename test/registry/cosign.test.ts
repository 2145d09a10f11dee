import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bundleBytes, type LoggedBundle } from '../../signing/bundle.ts'
import type { Signable } from '../../signing/statement.ts'
import { writeTrust } from '../../signing/trust-files.ts'
import { verifyKey } from '../../signing/verify-key.ts'
import { verifyBundle } from '../../signing/verify.ts'
import { hexOf, type Digest } from '../../src/domain/digest.ts'
import { foldAll } from '../../src/domain/ledger.ts'
import { predicateTypeOf } from '../../src/domain/role.ts'
import { recordRejected } from '../../src/ledger/artifact-records.ts'
import type { RecordDependencies } from '../../src/ledger/record.ts'
import { registryActivities } from '../../src/registry/activities.ts'
import { offlineIn } from '../helpers/cosign-blob.ts'
import { findTool } from '../helpers/find-tool.ts'
import { referrersApi, registryWithout } from '../helpers/registry-without.ts'
import { signedLog, type SignedLog } from '../helpers/signed-log.ts'
import { example } from '../signing/examples.ts'
import { basic, publishImage, registryAtHand } from './registry-at-hand.ts'

/** What Kiln's registry serves of an artifact, and what its log says of one, in the hands of the real cosign. */

let hand: Awaited<ReturnType<typeof registryAtHand>>
let folder: string
let log: SignedLog
/** Promoted; and denied, with nothing else that is said of it. */
let good: Digest
let denied: Digest

const summary = 'https://slsa.dev/verification_summary/v1'
const provenance = 'https://slsa.dev/provenance/v1'

beforeAll(async () => {
  hand = await registryAtHand()
  folder = await mkdtemp(join(tmpdir(), 'kiln-registry-cosign-'))
  log = signedLog()
  await writeTrust(join(folder, 'trust'), log.trust)
  await writeTrust(join(folder, 'other'), signedLog().trust)
  good = (await publishImage(hand.store, 'hello', { a: 'good' })).digest
  denied = (await publishImage(hand.store, 'hello', { a: 'denied' })).digest
  const key = example('key')
  await attach(good, await log.add({ ...example('provenance'), artifact: good }), provenance)
  await attach(good, await log.add({ ...key, body: { ...key.body, digest: good } }), summary)
  await attach(denied, await log.add({ ...example('denial'), artifact: denied }), summary)
})
afterAll(async () => {
  await hand.close()
  await rm(folder, { recursive: true, force: true })
})

async function attach(subject: Digest, bundle: LoggedBundle, predicateType: string): Promise<void> {
  const key = `bundles/${predicateType.length}-${hexOf(subject)}`
  await hand.store.put(key, bundleBytes(bundle))
  const at = { key, predicateType, created: '2026-01-01T00:00:00Z' }
  await registryActivities(hand).attachBundle({ repository: 'hello', subject, bundle: at })
}

type Asked = { port?: number; artifact?: Digest; key?: string; trust?: string; type?: string }

/** Whether cosign verifies an attestation of the artifact that it finds in the registry at a port. */
async function verifies(asked: Asked = {}): Promise<boolean> {
  const { port = hand.port, artifact = good, key = 'promote', trust = 'trust' } = asked
  const host = `127.0.0.1:${port}`
  const config = join(folder, host)
  await mkdir(config, { recursive: true })
  const auth = basic('reader').slice('Basic '.length)
  await writeFile(join(config, 'config.json'), JSON.stringify({ auths: { [host]: { auth } } }))
  const options = offlineIn(folder)
  const flags = [
    ['--key', join(folder, 'trust', `${key}.pub`)],
    ['--trusted-root', join(folder, trust, 'trusted_root.json')],
    ['--type', asked.type ?? summary],
  ].flat()
  const { exitCode } = await execa(
    findTool('cosign'),
    ['verify-attestation', ...flags, `${host}/hello@${artifact}`],
    { ...options, env: { ...options.env, DOCKER_CONFIG: config } },
  )
  return exitCode === 0
}

test('cosign verifies key and provenance by the referrers, and by the tag where a registry has no referrers API', async () => {
  const old = await registryWithout(referrersApi, hand.port)
  try {
    for (const port of [hand.port, old.port]) {
      expect(await verifies({ port })).toBe(true)
      expect(await verifies({ port, key: 'build', type: provenance })).toBe(true)
    }
    expect(await verifies({ port: old.port, key: 'record' })).toBe(false)
    expect(await verifies({ port: old.port, trust: 'other' })).toBe(false)
    expect(old.asked.some((path) => referrersApi.test(path))).toBe(true)
    expect(old.asked).toContain(`/v2/hello/manifests/sha256-${hexOf(good)}`)
  } finally {
    await old.close()
  }
})

test('where neither way leads to what was said, cosign verifies nothing', async () => {
  const bare = await registryWithout(/\/referrers\/|\/manifests\/sha256-/, hand.port)
  try {
    expect(await verifies({ port: bare.port })).toBe(false)
  } finally {
    await bare.close()
  }
})

test('an artifact of which only a denial is there verifies under the deny key, and never under the promote key', async () => {
  expect(await verifies({ artifact: denied })).toBe(false)
  expect(await verifies({ artifact: denied, key: 'deny' })).toBe(true)
})

/** What Kiln logs when a build is rejected. */
async function rejection(): Promise<{ bundle: LoggedBundle; build: string }> {
  const { build, app, source } = example('rejected').body
  const decide = async ({ signable }: { signable: Signable }) => void (await log.add(signable))
  const dependencies = { decide, now: () => new Date() } as unknown as RecordDependencies
  const why = { code: 'build_failed', message: 'RUN ended with exit code 3' }
  await recordRejected(dependencies, { build, found: { app, source }, ...why })
  return { bundle: log.bundleAt(log.size() - 1), build }
}

test('what is logged of a rejected build verifies under the record key, and never under the promote key', async () => {
  const { bundle, build } = await rejection()
  const path = join(folder, 'rejection.json')
  await writeFile(path, bundleBytes(bundle))
  const judged = async (key: string) => {
    const flags = [
      ['--key', join(folder, 'trust', `${key}.pub`)],
      ['--trusted-root', join(folder, 'trust', 'trusted_root.json')],
      ['--type', predicateTypeOf('rejected', log.trust.origin)],
      ['--bundle', path],
      ['--digest', build.slice('build:'.length)],
      ['--digestAlg', 'sha256'],
    ].flat()
    return execa(findTool('cosign'), ['verify-blob-attestation', ...flags], offlineIn(folder))
  }
  const [record, promote] = [await judged('record'), await judged('promote')]
  expect(promote.exitCode).not.toBe(0)
  expect(`${record.exitCode} ${record.stderr}`).toMatch(/^0 Verified OK/)
  // Nor is it a key to anybody who asks as a host does, whatever it is asked for.
  const verdict = verifyKey({
    bundle,
    trust: log.trust,
    expected: { environment: 'hello/prod', digest: good },
    facts: { ledger: foldAll([verifyBundle(bundle, log.trust, { kind: 'rejected' }).fact]) },
  })
  expect(verdict).toMatchObject({ verdict: 'refused', reason: { name: 'role' } })
  // Attached to an artifact it verifies that one under no key: it speaks of a build.
  const attached = (await publishImage(hand.store, 'hello', { a: 'rejected' })).digest
  const type = predicateTypeOf('rejected', log.trust.origin)
  await attach(attached, bundle, type)
  for (const key of ['promote', 'record']) {
    expect(await verifies({ artifact: attached, key, type })).toBe(false)
  }
})
