import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { buildActivities } from '../../src/build/activities.ts'
import type { BuildDependencies } from '../../src/build/ports.ts'
import { defaultBuildLimits } from '../../src/build/ports.ts'
import type { DockerClient } from '../../src/docker/client.ts'
import { createDocker } from '../../src/docker/client.ts'
import { removeImage } from '../../src/docker/images.ts'
import type { Digest } from '../../src/domain/digest.ts'
import type { Source } from '../../src/domain/statement.ts'
import type { CheckedTemplate } from '../../src/domain/template.ts'
import { repackTar } from '../../src/oci/context.ts'
import { mediaTypes, type ImageConfig } from '../../src/oci/image.ts'
import { oneChunk, writeImage } from '../../src/oci/write-image.ts'
import { credentialAccess } from '../../src/registry/access.ts'
import { createCapture } from '../../src/registry/capture.ts'
import { publishManifest } from '../../src/registry/publish.ts'
import { createRegistry } from '../../src/registry/server.ts'
import { blobKey, type BlobStore } from '../../src/store/blob-store.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { parseDockerfile } from '../../src/template/dockerfile.ts'
import { renderDockerfile } from '../../src/template/render-dockerfile.ts'
import { sample, tarOf, type Sample } from './tar.ts'

/** The build room on real parts: a folder store, Kiln's registry with its capture, the Docker Engine. */
export type BuildRoom = {
  deps: BuildDependencies
  docker: DockerClient
  store: BlobStore
  root: string
  lines: string[]
  activities: ReturnType<typeof buildActivities>
  cancel: AbortController
  close: () => Promise<void>
}

export async function buildRoom(
  options: {
    root?: string
    store?: BlobStore
    socketPath?: string
    change?: Partial<BuildDependencies>
  } = {},
): Promise<BuildRoom> {
  const root = options.root ?? mkdtempSync(join(tmpdir(), 'kiln-build-'))
  const store = options.store ?? openFolderStore({ root: join(root, 'store') })
  const docker = createDocker({ socketPath: options.socketPath ?? '/var/run/docker.sock' })
  const capture = createCapture(store)
  const auth = { username: 'build', password: 'build-password' }
  const server = await createRegistry({
    store,
    capture,
    access: credentialAccess([{ kind: 'build', ...auth }]),
    admissible: async () => () => false,
  })
  const address = `127.0.0.1:${server.port}`
  const pulled = new Set<string>()
  const lines: string[] = []
  const cancel = new AbortController()
  const deps: BuildDependencies = {
    store,
    docker,
    builder: basename(root),
    registry: {
      address,
      auth: { ...auth, serveraddress: address },
      async publish({ repository, manifest }) {
        pulled.add(`${address}/${repository}@${manifest}`)
        const bytes = await store.get(blobKey(manifest))
        if (bytes === undefined) throw new Error(`no ${manifest}`)
        await publishManifest(store, { repository, manifest: bytes })
      },
      take: (at) => capture.take(at),
    },
    renderDockerfile: (text, { base, args }) =>
      renderDockerfile(parseDockerfile(text, { place: 'Dockerfile' }), { from: () => base, args }),
    npm: { registry: null, caFile: null },
    scratchFolder: join(root, 'work'),
    cacheFolder: join(root, 'cache'),
    limits: defaultBuildLimits,
    log: (_build, line) => lines.push(line),
    activity: () => ({ signal: cancel.signal, heartbeat: () => undefined }),
    ...options.change,
  }
  return {
    deps,
    docker,
    store,
    root,
    lines,
    cancel,
    activities: buildActivities(deps),
    async close() {
      for (const reference of pulled) await removeImage(docker, reference).catch(() => undefined)
      await server.close()
      if (options.root === undefined) rmSync(root, { recursive: true, force: true })
    },
  }
}

function folder(name: string, mode = 0o755): Sample {
  return sample(name, { type: 'directory', mode })
}

/** A base of one uncompressed layer: busybox, and the folders whose attributes engines forget. */
export async function busyboxBase(store: BlobStore, more: readonly Sample[] = []): Promise<Digest> {
  const busybox = readFileSync('/bin/busybox').toString('latin1')
  const applets = [
    'sh',
    'cat',
    'chmod',
    'chown',
    'cp',
    'date',
    'env',
    'false',
    'ln',
    'ls',
    'mkdir',
    'mv',
    'ping',
    'rm',
    'sleep',
    'stat',
    'touch',
    'wget',
  ]
  const layer = await putTar(store, [
    folder('bin/'),
    sample('bin/busybox', { content: busybox, mode: 0o755 }),
    ...applets.map((name) =>
      sample(`bin/${name}`, { type: 'symlink', mode: 0o777, linkname: 'busybox' }),
    ),
    folder('etc/'),
    sample('etc/passwd', { content: 'root:x:0:0::/root:/bin/sh\nkiln:x:901:901::/:/bin/sh\n' }),
    sample('etc/motd', { content: 'hello\n' }),
    folder('lib/'),
    folder('opt/'),
    folder('opt/old/'),
    sample('opt/old/one', { content: '1' }),
    sample('opt/old/two', { content: '2' }),
    sample('opt/linked', { content: 'shared' }),
    sample('opt/linked-too', { type: 'link', linkname: 'opt/linked' }),
    folder('root/', 0o700),
    folder('tmp/', 0o1777),
    sample('tmp/of-the-base', { content: 'kept' }),
    ...more,
  ])
  const config: ImageConfig = {
    architecture: 'amd64',
    os: 'linux',
    created: '2020-01-01T00:00:00Z',
    config: { Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
    history: [{ created: '2020-01-01T00:00:00Z', created_by: 'test' }],
  }
  const layers = [{ mediaType: mediaTypes.layer, ...layer }]
  return (await writeImage(store, { config, layers })).digest
}

export async function putTar(
  store: BlobStore,
  entries: readonly Sample[],
): Promise<{ digest: Digest; size: number }> {
  return store.putBlob(oneChunk(await tarOf(entries)))
}

export async function putText(store: BlobStore, text: string): Promise<Digest> {
  return (await store.putBlob(oneChunk(Buffer.from(text)))).digest
}

/** A source's context as the source room stores it. */
export async function putContext(
  room: BuildRoom,
  files: Readonly<Record<string, string>>,
): Promise<Digest> {
  const tar = await tarOf(Object.entries(files).map(([name, content]) => sample(name, { content })))
  const packed = repackTar(oneChunk(tar), {
    mtime: source.committedAt,
    spoolFolder: room.deps.scratchFolder,
  })
  return (await room.store.putBlob(packed)).digest
}

export const source: Source = {
  repository: 'https://git.test/hello',
  commit: 'c'.repeat(40),
  tree: 'd'.repeat(40),
  committedAt: 1_760_000_000,
  subject: 'hello',
}

/** A template whose lock was checked, from a Dockerfile and a base. */
export async function testTemplate(
  room: BuildRoom,
  base: Digest,
  dockerfile: string,
): Promise<CheckedTemplate> {
  const stored = await putText(room.store, dockerfile)
  return {
    name: 'test',
    lock: stored,
    dockerfile: stored,
    files: null,
    images: { base, fetch: null },
    dependencies: 'none',
  }
}

const caBundle = '/etc/ssl/certs/ca-certificates.crt'

/** The npm settings of this machine, as main/ finds them. */
export function machineNpm(): { registry: string; caFile: string | null } {
  const registry = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim()
  return { registry, caFile: existsSync(caBundle) ? caBundle : null }
}
