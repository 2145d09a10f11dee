import { afterAll, beforeAll, expect, test } from 'vitest'
import { registryActivities } from '../../src/registry/activities.ts'
import { noDigest, once, publishImage, registryAtHand } from './registry-at-hand.ts'

let hand: Awaited<ReturnType<typeof registryAtHand>>

beforeAll(async () => {
  hand = await registryAtHand()
})
afterAll(() => hand.close())

test('an artifact is published with its SBOM, files and bundles; twice is once', async () => {
  const image = await publishImage(hand.store, 'elsewhere', { a: '1' })
  const sbom = await hand.store.putBlob(once(Buffer.from('{"sbom":1}')))
  const files = await hand.store.putBlob(once(Buffer.from('{"files":1}')))
  await hand.store.put('bundles/x', Buffer.from('{"bundle":1}'))
  const request = {
    found: { app: 'hello' },
    artifact: image.digest,
    sbom: sbom.digest,
    files: files.digest,
    bundles: [
      {
        key: 'bundles/x',
        predicateType: 'https://slsa.dev/provenance/v1',
        created: '2026-01-01T00:00:00Z',
      },
    ],
  }
  const activities = registryActivities({ store: hand.store })
  const publishArtifact = (input: typeof request) => activities.publishArtifact(input)
  const first = await publishArtifact(request)
  expect(await publishArtifact(request)).toEqual(first)
  expect((await hand.ask(`/v2/hello/manifests/${image.digest}`)).status).toBe(200)
  const bundle = 'application/vnd.dev.sigstore.bundle.v0.3+json'
  const listed = await hand.ask(
    `/v2/hello/referrers/${image.digest}?artifactType=${encodeURIComponent(bundle)}`,
  )
  expect(await listed.json()).toMatchObject({
    manifests: [
      {
        artifactType: bundle,
        annotations: {
          'dev.sigstore.bundle.content': 'dsse-envelope',
          'dev.sigstore.bundle.predicateType': 'https://slsa.dev/provenance/v1',
          'org.opencontainers.image.created': '2026-01-01T00:00:00Z',
        },
      },
    ],
  })
  expect(first.referrers).toHaveLength(3)
  await expect(publishArtifact({ ...request, artifact: noDigest })).rejects.toMatchObject({
    code: 'not_found',
  })
})
