import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { bundleMediaType } from '../../signing/bundle.ts'
import { digestOf } from '../../signing/canonical.ts'

const emptyType = 'application/vnd.oci.empty.v1+json'
const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const json = (value: unknown) => Buffer.from(JSON.stringify(value))

/**
 * Just enough of a registry for cosign to find one bundle: an image, its referrer, basic auth. The
 * real one is the registry room's; this one keeps signing's tests alone.
 */
export async function tinyRegistry(
  bundle: Uint8Array,
  credentials: string,
  manifest: Uint8Array,
): Promise<{ port: number; close: () => Promise<void> }> {
  const empty = { mediaType: emptyType, digest: digestOf(json({})), size: 2 }
  const image = { mediaType: manifestType, digest: digestOf(manifest), size: manifest.length }
  const referrer = json({
    schemaVersion: 2,
    mediaType: manifestType,
    artifactType: bundleMediaType,
    config: empty,
    layers: [{ mediaType: bundleMediaType, digest: digestOf(bundle), size: bundle.length }],
    subject: image,
    annotations: {
      'dev.sigstore.bundle.content': 'dsse-envelope',
      'dev.sigstore.bundle.predicateType': 'https://slsa.dev/verification_summary/v1',
      'org.opencontainers.image.created': '2026-01-01T00:00:00Z',
    },
  })
  const index = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        mediaType: manifestType,
        digest: digestOf(referrer),
        size: referrer.length,
        artifactType: bundleMediaType,
      },
    ],
  })
  const answers = new Map<string, [type: string, body: Uint8Array]>([
    ['/v2/', ['application/json', json({})]],
    [`/v2/hello/manifests/${digestOf(manifest)}`, [manifestType, manifest]],
    [`/v2/hello/manifests/${digestOf(referrer)}`, [manifestType, referrer]],
    [
      `/v2/hello/referrers/${digestOf(manifest)}`,
      ['application/vnd.oci.image.index.v1+json', index],
    ],
    [`/v2/hello/blobs/${digestOf(bundle)}`, ['application/octet-stream', bundle]],
    [`/v2/hello/blobs/${empty.digest}`, ['application/octet-stream', json({})]],
  ])
  const server: Server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://registry').pathname
    const [type, body] = answers.get(path) ?? []
    if (request.headers.authorization !== `Basic ${btoa(credentials)}`) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="kiln"' }).end()
    } else if (type === undefined || body === undefined) {
      response.writeHead(404).end()
    } else {
      response
        .writeHead(200, {
          'content-type': type,
          'content-length': body.length,
          'docker-content-digest': digestOf(body),
        })
        .end(request.method === 'HEAD' ? undefined : body)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
