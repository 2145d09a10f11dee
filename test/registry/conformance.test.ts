import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { digestOf } from '../../signing/canonical.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { mediaTypes, type Descriptor } from '../../src/oci/image.ts'
import { publishManifest } from '../../src/registry/publish.ts'
import { referrerMarker } from '../../src/registry/catalog.ts'
import { debianRegistry } from './debian-registry.ts'
import { noDigest, once, registryAtHand } from './registry-at-hand.ts'

/**
 * The OCI distribution specification 1.1, categories Pull, Content Discovery and its referrers: one
 * test for each MUST that binds a registry, in the specification's order, asked of Kiln and of Debian's
 * docker-registry. What the control is known not to keep is expected to fail there, so that each such
 * row is seen to bite.
 */

type Ask = (path: string, init?: { method?: string }) => Promise<Response>
type Target = { ask: Ask }

const layer = Buffer.from('a layer')
const config = Buffer.from('{"architecture":"amd64","os":"linux"}')
const empty = Buffer.from('{}')

function described(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length }
}

function manifestOf(more: object = {}): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: described(config, mediaTypes.config),
      layers: [described(layer, mediaTypes.layer)],
      ...more,
    }),
  )
}

const manifest = manifestOf()
const subject = described(manifest, mediaTypes.manifest)
/** With an artifactType and annotations; without, or with an empty one, so that its config's type counts. */
const typed = manifestOf({
  artifactType: 'application/vnd.example.one',
  config: described(empty, mediaTypes.empty),
  subject,
  annotations: { 'org.example.note': 'kept' },
})
const untyped = manifestOf({ subject })
const emptyType = manifestOf({ subject, artifactType: '' })
const all = [manifest, typed, untyped, emptyType]

let kiln: Awaited<ReturnType<typeof registryAtHand>>
let control: Awaited<ReturnType<typeof debianRegistry>>
let targets: Record<'Kiln' | "Debian's docker-registry", Target>

beforeAll(async () => {
  kiln = await registryAtHand({ capture: false })
  control = await debianRegistry()
  for (const blob of [layer, config, empty]) {
    await kiln.store.putBlob(once(blob))
    await control.pushBlob('hello', blob)
  }
  for (const bytes of all) {
    const { digest } = await publishManifest(kiln.store, { repository: 'hello', manifest: bytes })
    if (bytes !== manifest) await mark(digest)
    await control.pushManifest('hello', bytes, mediaTypes.manifest)
  }
  await publishManifest(kiln.store, {
    repository: 'alone',
    manifest: manifestOf({ config: described(empty, mediaTypes.config), layers: [] }),
  })
  targets = {
    Kiln: { ask: (path, init) => kiln.ask(path, init) },
    "Debian's docker-registry": {
      ask: (path, init) =>
        fetch(`${control.at}${path}`, { ...init, headers: { accept: mediaTypes.manifest } }),
    },
  }
})
afterAll(async () => {
  await kiln.close()
  await control.close()
})

async function mark(referrer: Digest): Promise<void> {
  await kiln.store.put(referrerMarker(subject.digest, referrer), Buffer.from(`${referrer}\n`))
}

const at = `/v2/hello/manifests/${subject.digest}`
const blob = `/v2/hello/blobs/${digestOf(layer)}`
const referrers = `/v2/hello/referrers/${subject.digest}`

async function bytesOf(answer: Response): Promise<Buffer> {
  return Buffer.from(await answer.arrayBuffer())
}

type Index = { mediaType: string; manifests: (Descriptor & { artifactType?: string })[] }

async function listed(ask: Ask, path = referrers): Promise<Index['manifests']> {
  const answer = await ask(path)
  expect(answer.status).toBe(200)
  return ((await answer.json()) as Index).manifests
}

/** Rows that the control fails say why. */
type Row = { must: string; fails?: string; run: (target: Target) => Promise<void> }

const noReferrers = '2.8 has no referrers API'

const pull: Row[] = [
  {
    must: 'GET /v2/ answers 200: the API is there',
    run: async ({ ask }) => expect((await ask('/v2/')).status).toBe(200),
  },
  {
    must: 'a reference is a digest or a tag, and nothing else',
    run: async ({ ask }) => {
      for (const bad of ['sha256:short', '.tag', `a${'b'.repeat(128)}`, 'with%20space']) {
        expect((await ask(`/v2/hello/manifests/${bad}`)).ok).toBe(false)
      }
    },
  },
  {
    must: 'a name matches the grammar',
    run: async ({ ask }) => {
      for (const bad of ['Hello', 'a..b', '-a', 'a_-b']) {
        expect([400, 404]).toContain((await ask(`/v2/${bad}/manifests/x`)).status)
      }
      for (const good of ['a.b', 'a__b', 'a---b', 'a/b/c', '0']) {
        const answer = await ask(`/v2/${good}/manifests/x`)
        expect(answer.status).toBe(404)
        expect(JSON.stringify(await answer.json())).not.toContain('NAME_INVALID')
      }
    },
  },
  {
    must: 'GET of a manifest that exists answers 200 with exactly it',
    run: async ({ ask }) => {
      const answer = await ask(at)
      expect(answer.status).toBe(200)
      expect(await bytesOf(answer)).toEqual(manifest)
      expect(answer.headers.get('content-type')).toBe(mediaTypes.manifest)
    },
  },
  {
    must: 'the answer has the digest of its body in Docker-Content-Digest',
    run: async ({ ask }) => {
      const answer = await ask(at)
      expect(answer.headers.get('docker-content-digest')).toBe(digestOf(await bytesOf(answer)))
    },
  },
  {
    must: 'a manifest that is not in the repository is 404',
    run: async ({ ask }) => {
      expect((await ask(`/v2/hello/manifests/${noDigest}`)).status).toBe(404)
      expect((await ask(`/v2/other/manifests/${subject.digest}`)).status).toBe(404)
    },
  },
  {
    must: 'GET of a blob that exists answers 200 with exactly it, and its digest',
    run: async ({ ask }) => {
      const answer = await ask(blob)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('docker-content-digest')).toBe(digestOf(layer))
      expect(await bytesOf(answer)).toEqual(layer)
    },
  },
  {
    must: 'a blob that is not in the repository is 404, though another repository has it',
    run: async ({ ask }) => {
      expect((await ask(`/v2/hello/blobs/${noDigest}`)).status).toBe(404)
      expect((await ask(`/v2/alone/blobs/${digestOf(layer)}`)).status).toBe(404)
    },
  },
  {
    must: 'HEAD of what exists answers 200 with digest and length, and no body',
    run: async ({ ask }) => {
      for (const [path, bytes] of [
        [at, manifest],
        [blob, layer],
      ] as const) {
        const answer = await ask(path, { method: 'HEAD' })
        expect(answer.status).toBe(200)
        expect(answer.headers.get('docker-content-digest')).toBe(digestOf(bytes))
        expect(answer.headers.get('content-length')).toBe(String(bytes.length))
        expect(await bytesOf(answer)).toHaveLength(0)
      }
    },
  },
  {
    must: 'HEAD of what does not exist is 404',
    run: async ({ ask }) => {
      for (const kind of ['manifests', 'blobs']) {
        const answer = await ask(`/v2/hello/${kind}/${noDigest}`, { method: 'HEAD' })
        expect(answer.status).toBe(404)
      }
    },
  },
  {
    must: 'a pull from a repository that does not exist is 404',
    run: async ({ ask }) => {
      expect((await ask('/v2/nowhere/manifests/latest')).status).toBe(404)
      expect((await ask(`/v2/nowhere/blobs/${digestOf(layer)}`)).status).toBe(404)
    },
  },
  {
    must: 'an error in JSON has the form of the specification and one of its codes',
    run: async ({ ask }) => {
      for (const path of [
        `/v2/hello/manifests/${noDigest}`,
        `/v2/hello/blobs/${noDigest}`,
        '/v2/Hello/manifests/x',
        '/v2/hello/blobs/sha256:short',
        '/v2/nowhere/tags/list',
      ]) {
        const answer = await ask(path)
        expect(answer.ok).toBe(false)
        if (!(answer.headers.get('content-type') ?? '').includes('json')) continue
        const { errors } = (await answer.json()) as { errors: { code: string; message?: string }[] }
        expect(errors.length).toBeGreaterThan(0)
        for (const { code } of errors) expect(codes).toContain(code)
      }
    },
  },
]

const codes = [
  'BLOB_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'BLOB_UPLOAD_UNKNOWN',
  'DIGEST_INVALID',
  'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID',
  'MANIFEST_UNKNOWN',
  'NAME_INVALID',
  'NAME_UNKNOWN',
  'SIZE_INVALID',
  'UNAUTHORIZED',
  'DENIED',
  'UNSUPPORTED',
  'TOOMANYREQUESTS',
]

type Tags = { name: string; tags: string[] | null }

const discovery: Row[] = [
  {
    must: 'the tags of a repository that is found are 200, in the form of the specification',
    fails: 'it knows no repository that has no tag',
    run: async ({ ask }) => {
      const answer = await ask('/v2/hello/tags/list')
      expect(answer.status).toBe(200)
      expect((await answer.json()) as Tags).toEqual({ name: 'hello', tags: [] })
    },
  },
  {
    must: 'with n=0 the list is empty and without a Link',
    fails: 'it knows no repository that has no tag',
    run: async ({ ask }) => {
      const answer = await ask('/v2/hello/tags/list?n=0')
      expect(answer.headers.get('link')).toBeNull()
      expect((await answer.json()) as Tags).toEqual({ name: 'hello', tags: [] })
    },
  },
  {
    must: 'with n and last there are at most n, all after last, in lexical order',
    fails: 'it knows no repository that has no tag',
    run: async ({ ask }) => {
      const answer = await ask('/v2/hello/tags/list?n=2&last=b')
      expect(answer.status).toBe(200)
      const { tags } = (await answer.json()) as { tags: string[] }
      expect(tags).toEqual(
        tags
          .toSorted()
          .filter((tag) => tag > 'b')
          .slice(0, 2),
      )
    },
  },
  {
    must: 'the referrers of a repository that is found are 200, and no request for referrers is 404',
    fails: noReferrers,
    run: async ({ ask }) => {
      expect((await ask(referrers)).status).toBe(200)
      expect((await ask(`/v2/hello/referrers/${noDigest}`)).status).toBe(200)
      expect((await ask(`/v2/nowhere/referrers/${noDigest}`)).status).not.toBe(404)
    },
  },
  {
    must: 'a digest that is none is 400',
    fails: noReferrers,
    run: async ({ ask }) => {
      for (const bad of ['sha256:short', 'sha512:abc', 'latest']) {
        expect((await ask(`/v2/hello/referrers/${bad}`)).status).toBe(400)
      }
    },
  },
  {
    must: 'the body is an image index, and the Content-Type says so',
    fails: noReferrers,
    run: async ({ ask }) => {
      const answer = await ask(referrers)
      expect(answer.headers.get('content-type')).toBe(mediaTypes.index)
      expect(await answer.json()).toMatchObject({ schemaVersion: 2, mediaType: mediaTypes.index })
    },
  },
  {
    must: 'each descriptor is of a manifest here whose subject it is, and all are listed',
    fails: noReferrers,
    run: async ({ ask }) => {
      const found = await listed(ask)
      expect(found.map(({ digest }) => digest).toSorted()).toEqual(
        [typed, untyped, emptyType].map(digestOf).toSorted(),
      )
      for (const one of found) {
        const answer = await ask(`/v2/hello/manifests/${one.digest}`)
        const bytes = await bytesOf(answer)
        expect(one).toMatchObject({ size: bytes.length, mediaType: mediaTypes.manifest })
        expect(JSON.parse(bytes.toString())).toMatchObject({ subject: { digest: subject.digest } })
      }
    },
  },
  {
    must: "a descriptor's artifactType is the manifest's own",
    fails: noReferrers,
    run: async ({ ask }) => {
      const one = (await listed(ask)).find(({ digest }) => digest === digestOf(typed))
      expect(one?.artifactType).toBe('application/vnd.example.one')
    },
  },
  {
    must: "without one, or with an empty one, it is the media type of the manifest's config",
    fails: noReferrers,
    run: async ({ ask }) => {
      const found = await listed(ask)
      for (const bytes of [untyped, emptyType]) {
        const one = found.find(({ digest }) => digest === digestOf(bytes))
        expect(one?.artifactType).toBe(mediaTypes.config)
      }
    },
  },
  {
    must: "a descriptor has the manifest's annotations",
    fails: noReferrers,
    run: async ({ ask }) => {
      const one = (await listed(ask)).find(({ digest }) => digest === digestOf(typed))
      expect(one?.annotations).toEqual({ 'org.example.note': 'kept' })
    },
  },
  {
    must: 'nothing that refers to it: an empty list',
    fails: noReferrers,
    run: async ({ ask }) => {
      expect(await listed(ask, `/v2/hello/referrers/${noDigest}`)).toEqual([])
    },
  },
  {
    must: 'a filter that was applied is named by OCI-Filters-Applied',
    fails: noReferrers,
    run: async ({ ask }) => {
      const type = encodeURIComponent('application/vnd.example.one')
      const answer = await ask(`${referrers}?artifactType=${type}`)
      expect(answer.headers.get('oci-filters-applied')).toBe('artifactType')
      const { manifests } = (await answer.json()) as Index
      expect(manifests.map(({ digest }) => digest)).toEqual([digestOf(typed)])
    },
  },
  {
    must: 'the referrers tag, where a client falls back to it, lists the same',
    fails: 'nobody pushed that tag there',
    run: async ({ ask }) => {
      const tag = `sha256-${subject.digest.slice('sha256:'.length)}`
      const answer = await ask(`/v2/hello/manifests/${tag}`)
      expect(answer.status).toBe(200)
      expect(((await answer.json()) as Index).manifests).toEqual(await listed(ask))
    },
  },
]

/** Kiln takes no deletion: the specification says what is answered then. */
const refusing: Row[] = [
  {
    must: 'where deletion is disabled it is answered by 400 or 405',
    run: async ({ ask }) => {
      for (const path of [at, blob, '/v2/hello/manifests/latest']) {
        expect([400, 405]).toContain((await ask(path, { method: 'DELETE' })).status)
      }
    },
  },
]

describe.each(Object.entries({ Pull: pull, 'Content Discovery': discovery, Deletion: refusing }))(
  '%s',
  (_category, rows) => {
    test.each(rows.map((row) => [row.must, row] as const))('%s', async (_must, { fails, run }) => {
      await run(targets.Kiln)
      const held = await run(targets["Debian's docker-registry"]).then(
        () => true,
        () => false,
      )
      expect({ control: held, known: fails ?? 'it holds' }).toEqual({
        control: fails === undefined,
        known: fails ?? 'it holds',
      })
    })
  },
)
