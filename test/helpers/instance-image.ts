import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { mkdtemp, readFile, realpath, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { pack, type Pack } from 'tar-stream'
import type { Digest } from '../../src/domain/digest.ts'
import { removeImage } from '../../src/docker/images.ts'
import type { DockerClient } from '../../src/docker/client.ts'
import { mediaTypes } from '../../src/oci/image.ts'
import { credentialAccess } from '../../src/registry/access.ts'
import { publishManifest } from '../../src/registry/publish.ts'
import { createRegistry } from '../../src/registry/server.ts'
import type { RegistryAccess } from '../../src/runtime/image.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'

const auth = { username: 'host', password: 'host-password' }

export type InstanceImages = {
  registry: RegistryAccess
  /** What the registry serves to hosts; an image is in it until it is taken out. */
  admissible: Set<Digest>
  /** Publishes an image of the test service with these variables; the layer is the same for all. */
  publish: (app: string, image: { env: Record<string, string>; user?: string }) => Promise<Digest>
  close: () => Promise<void>
}

/** Kiln's own registry with images of a small Node service: this machine's node, its libraries, and one file. */
export async function instanceImages(docker: DockerClient): Promise<InstanceImages> {
  const root = await mkdtemp(join(tmpdir(), 'kiln-images-'))
  const store = openFolderStore({ root })
  const admissible = new Set<Digest>()
  const published: string[] = []
  const layer = await store.putBlob(serviceLayer())
  const server = await createRegistry({
    store,
    access: credentialAccess([{ kind: 'host', ...auth }]),
    admissible: async () => (digest) => admissible.has(digest),
  })
  const address = `127.0.0.1:${server.port}`

  return {
    registry: { address, auth },
    admissible,
    async publish(app, { env, user = '901:901' }) {
      const config = await store.putBlob(jsonBytes(imageConfig(layer.digest, env, user)))
      const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: { mediaType: mediaTypes.config, ...config },
        layers: [{ mediaType: mediaTypes.layer, ...layer }],
      }
      const { digest } = await publishManifest(store, {
        repository: app,
        manifest: Buffer.from(JSON.stringify(manifest)),
      })
      admissible.add(digest)
      published.push(`${address}/${app}@${digest}`)
      return digest
    },
    async close() {
      for (const reference of published) await removeImage(docker, reference)
      await server.close()
      await rm(root, { recursive: true, force: true })
    },
  }
}

function imageConfig(layer: Digest, env: Record<string, string>, user: string) {
  return {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    created: '2026-01-01T00:00:00Z',
    config: {
      User: user,
      Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      Cmd: ['/bin/node', '/service.cjs'],
    },
    rootfs: { type: 'layers', diff_ids: [layer] },
    history: [{ created: '2026-01-01T00:00:00Z', created_by: 'test' }],
  }
}

async function* jsonBytes(value: unknown): AsyncIterable<Uint8Array> {
  yield Buffer.from(JSON.stringify(value))
}

async function* serviceLayer(): AsyncIterable<Uint8Array> {
  const archive = pack()
  const service = await readFile(new URL('instance-server.cjs', import.meta.url))
  const libraries = await librariesOf(process.execPath)
  const fill = async () => {
    archive.entry({ name: 'tmp', type: 'directory', mode: 0o1777, mtime: new Date(0) })
    archive.entry({ name: 'service.cjs', mode: 0o644, mtime: new Date(0) }, service)
    await addFile(archive, { name: 'bin/node', path: process.execPath })
    for (const path of libraries) await addFile(archive, { name: path.slice(1), path })
    archive.finalize()
  }
  fill().catch((error: Error) => archive.destroy(error))
  yield* archive as AsyncIterable<Buffer>
}

async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ldd', [program])
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? '')
}

async function addFile(archive: Pack, { name, path }: { name: string; path: string }) {
  const file = await realpath(path)
  const { size } = await stat(file)
  await pipeline(
    createReadStream(file),
    archive.entry({ name, size, mode: 0o755, mtime: new Date(0) }),
  )
}
