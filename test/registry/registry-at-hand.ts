import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { pack } from 'tar-stream'
import { digestOfHex, type Digest } from '../../src/domain/digest.ts'
import { mediaTypes, type Descriptor } from '../../src/oci/image.ts'
import { credentialAccess } from '../../src/registry/access.ts'
import { createCapture, type CaptureLimits } from '../../src/registry/capture.ts'
import { publishManifest } from '../../src/registry/publish.ts'
import { createRegistry } from '../../src/registry/server.ts'
import type { BlobStore } from '../../src/store/blob-store.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'

const passwords = { reader: 'reader-password', host: 'host-password', build: 'build-password' }

export type Who = keyof typeof passwords

export type Asking = Omit<RequestInit, 'headers'> & {
  who?: Who | null
  headers?: Record<string, string>
  duplex?: 'half'
}

export function basic(who: Who): string {
  return `Basic ${Buffer.from(`${who}:${passwords[who]}`).toString('base64')}`
}

export function authconfig(who: Who, port: number) {
  return { username: who, password: passwords[who], serveraddress: `127.0.0.1:${port}` }
}

/** A registry on a free port over a folder store of its own; `admissible` is the ledger's answer. */
export async function registryAtHand(
  options: { capture?: boolean; limits?: CaptureLimits; logger?: Logger } = {},
) {
  const root = await mkdtemp(join(tmpdir(), 'kiln-registry-'))
  const store = openFolderStore({ root })
  const admissible = new Set<Digest>()
  const capture = createCapture(store, ...(options.limits ? [options.limits] : []))
  const access = credentialAccess(
    (Object.keys(passwords) as Who[]).map((kind) => ({
      kind,
      username: kind,
      password: passwords[kind],
    })),
  )
  const registry = await createRegistry({
    store,
    access,
    admissible: async () => (digest) => admissible.has(digest),
    ...(options.capture === false ? {} : { capture }),
    ...(options.logger === undefined ? {} : { logger: options.logger }),
  })
  const ask = (path: string, init: Asking = {}) => {
    const { who = 'reader', headers = {}, ...rest } = init
    return fetch(`http://127.0.0.1:${registry.port}${path}`, {
      ...rest,
      headers: { ...(who === null ? {} : { authorization: basic(who) }), ...headers },
    })
  }
  return {
    root,
    store,
    admissible,
    capture,
    port: registry.port,
    ask,
    async close() {
      await registry.close()
      await rm(root, { recursive: true, force: true })
    },
  }
}

export async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}

export async function tarOf(files: Record<string, string>): Promise<Buffer> {
  const archive = pack()
  for (const [name, content] of Object.entries(files)) {
    archive.entry({ name, mtime: new Date(0) }, content)
  }
  archive.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of archive) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Publishes an image of one uncompressed layer, as Kiln's builds do. */
export async function publishImage(
  store: BlobStore,
  repository: string,
  files: Record<string, string>,
): Promise<Descriptor & { layer: Digest; config: Digest }> {
  const layer = await store.putBlob(once(await tarOf(files)))
  const config = await store.putBlob(
    once(
      Buffer.from(
        JSON.stringify({
          architecture: 'amd64',
          os: 'linux',
          created: '2026-01-01T00:00:00Z',
          config: { Cmd: ['/hello'] },
          rootfs: { type: 'layers', diff_ids: [layer.digest] },
          history: [{ created: '2026-01-01T00:00:00Z', created_by: 'kiln' }],
        }),
      ),
    ),
  )
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, ...config },
    layers: [{ mediaType: mediaTypes.layer, ...layer }],
  }
  const published = await publishManifest(store, {
    repository,
    manifest: Buffer.from(JSON.stringify(manifest)),
  })
  return { ...published, layer: layer.digest, config: config.digest }
}

export const noDigest = digestOfHex('0'.repeat(64))

/** Reads the engine's stream to its end; the engine reports failure inside it. */
export async function follow(stream: NodeJS.ReadableStream): Promise<void> {
  let text = ''
  for await (const chunk of stream) text += chunk.toString()
  const line = text.split('\n').find((one) => one.includes('"error"'))
  if (line !== undefined) throw new Error(line)
}
