import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { BuildImageResult } from '../../src/build/build-image.ts'
import { forgetCache } from '../../src/build/docker-engine.ts'
import { markBuild, unmarkBuild } from '../../src/build/engine-marks.ts'
import { labelsOfBuild } from '../../src/build/names.ts'
import { defaultBuildLimits } from '../../src/build/ports.ts'
import { runContainer } from '../../src/docker/containers.ts'
import { pullByDigest } from '../../src/docker/images.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { parseFilesManifest, type FileRecord } from '../../src/oci/files-manifest.ts'
import type { ImageConfig, Manifest } from '../../src/oci/image.ts'
import { openBlob } from '../../src/oci/read-image.ts'
import { writeImage } from '../../src/oci/write-image.ts'
import type { BuildRoom } from '../helpers/build-room.ts'
import { buildRoom, busyboxBase, putContext, source, testTemplate } from '../helpers/build-room.ts'
import { collect, sample, samplesOf, type Sample } from '../helpers/tar.ts'

const app = 'test-build-image'
let room: BuildRoom
let base: Digest

beforeAll(async () => {
  room = await buildRoom()
  base = await busyboxBase(room.store, [sample('own', { content: crypto.randomUUID() })])
})

afterAll(async () => {
  await forgetCache(room.docker, app)
  await room.close()
})

const ending = 'USER 901:901\nCMD ["/bin/sh"]\n'
const unique = () => `build:${crypto.randomUUID()}`

async function build(
  dockerfile: string,
  more: { in?: BuildRoom; build?: string; like?: Digest; repository?: string } = {},
): Promise<BuildImageResult> {
  const at = more.in ?? room
  return at.activities.buildImage({
    build: more.build ?? unique(),
    app,
    context: await putContext(at, { 'server.js': 'hello', 'lib/one.js': '1' }),
    dependencies: null,
    template: await testTemplate(at, base, dockerfile),
    source: { ...source, repository: more.repository ?? source.repository },
    useCache: true,
    ...(more.like === undefined ? {} : { like: more.like }),
  })
}

async function json<T>(digest: Digest): Promise<T> {
  return JSON.parse(await text(await openBlob(room.store, digest))) as T
}

async function layerOf({ layer }: BuildImageResult): Promise<Sample[]> {
  if (layer === null) return []
  return samplesOf(await collect(await openBlob(room.store, layer)))
}

async function filesOf({ files }: BuildImageResult): Promise<Map<string, FileRecord>> {
  const records = parseFilesManifest(await text(await openBlob(room.store, files)))
  return new Map(records.map((record) => [record.path, record]))
}

/** What a build left in the engine: step containers of this base, and images without a name above it. */
async function remains(): Promise<string[]> {
  const reference = `${room.deps.registry.address}/kiln/base@${base}`
  const containers = await room.docker.listContainers({
    all: true,
    filters: JSON.stringify({ ancestor: [reference] }),
  })
  const captured = (await room.docker.listImages()).flatMap(({ RepoTags }) =>
    (RepoTags ?? []).filter((name) => name.startsWith(`${room.deps.registry.address}/`)),
  )
  const baseId = (await room.docker.getImage(reference).inspect()).Id
  const dangling = await room.docker.listImages({ filters: '{"dangling":["true"]}' })
  const above: string[] = []
  for (const { Id } of dangling) {
    const history = (await room.docker.getImage(Id).history()) as { Id: string }[]
    if (history.some((one) => one.Id === baseId)) above.push(Id)
  }
  return [...containers.map(({ Names }) => Names.join()), ...captured, ...above]
}

test('the artifact is the base and one canonical layer, under a config of our own', async () => {
  const result = await build(
    [
      'FROM base',
      'COPY app/ /srv/app/',
      'RUN chmod 4755 /bin/busybox && rm -r /opt/old && ln /opt/linked /opt/linked-again',
      'RUN echo changed > /etc/motd && touch /tmp/scratch /root/secret && mkdir /root/.npm',
      'RUN rm -r /lib && ln -s bin /lib && chown 901:902 /srv',
      'ENV NODE_ENV=production',
      'LABEL noise=engine',
      ending,
    ].join('\n'),
  )
  const layer = await layerOf(result)
  expect(layer.map(({ name }) => name)).toEqual([
    'bin/',
    'bin/busybox',
    'etc/',
    'etc/motd',
    'lib',
    'opt/',
    'opt/.wh.old',
    'opt/linked-again',
    'root/',
    'root/secret',
    'srv/',
    'srv/app/',
    'srv/app/lib/',
    'srv/app/lib/one.js',
    'srv/app/server.js',
  ])
  const named = new Map(layer.map((one) => [one.name, one]))
  expect(named.get('root/')?.mode).toBe(0o700)
  expect(named.get('bin/busybox')?.mode).toBe(0o4755)
  expect(named.get('srv/')).toMatchObject({ uid: 901, gid: 902 })
  expect(named.get('lib')).toMatchObject({ type: 'symlink', linkname: 'bin' })
  // A hard link to a file of the base that did not change is a plain file.
  expect(named.get('opt/linked-again')).toMatchObject({ type: 'file', content: 'shared' })
  for (const { mtime } of layer) expect(mtime).toBeLessThanOrEqual(source.committedAt)
  const manifest = await json<Manifest>(result.artifact)
  expect(manifest.layers).toHaveLength(2)
  expect(manifest.layers[1]?.digest).toBe(result.layer)
  const config = await json<ImageConfig>(manifest.config.digest)
  expect(config).toEqual({
    architecture: 'amd64',
    os: 'linux',
    created: '2025-10-09T08:53:20Z',
    config: {
      User: '901:901',
      Env: ['PATH=/bin', 'NODE_ENV=production'],
      Cmd: ['/bin/sh'],
      Labels: {
        'org.opencontainers.image.created': '2025-10-09T08:53:20Z',
        'org.opencontainers.image.revision': source.commit,
        'org.opencontainers.image.title': app,
      },
    },
    rootfs: { type: 'layers', diff_ids: manifest.layers.map(({ digest }) => digest) },
    history: [0, 1].map(() => ({ created: '2025-10-09T08:53:20Z', created_by: 'kiln' })),
  })
})

test('one commit read through two addresses is one artifact, and an older form is made again as it was', async () => {
  const dockerfile = `FROM base\nCOPY app/ /srv/app/\n${ending}`
  const now = await build(dockerfile)
  expect((await build(dockerfile, { repository: '/elsewhere' })).artifact).toBe(now.artifact)
  const manifest = await json<Manifest>(now.artifact)
  const config = await json<ImageConfig>(manifest.config.digest)
  const { 'org.opencontainers.image.title': title, ...before } = config.config.Labels ?? {}
  // In the order that they had: it is part of the bytes.
  const Labels = {
    ...before,
    'org.opencontainers.image.source': '/elsewhere',
    'org.opencontainers.image.title': title ?? '',
  }
  const labelled = { ...config.config, Labels }
  const old = await writeImage(room.store, {
    config: { ...config, config: labelled },
    layers: manifest.layers,
  })
  const again = await build(dockerfile, { repository: '/elsewhere', like: old.digest })
  expect(again.artifact).toBe(old.digest)
})

test('the per-file manifest tells the whole root file system', async () => {
  const files = await filesOf(
    await build(`FROM base\nRUN rm -r /opt/old && echo 1 > /opt/x\n${ending}`),
  )
  expect(files.get('opt/x')).toMatchObject({ type: 'file', mode: '0644', owner: '0:0', size: 2 })
  expect(files.get('root')).toMatchObject({ type: 'directory', mode: '0700' })
  expect(files.get('bin/sh')).toMatchObject({ type: 'symlink', target: 'busybox' })
  expect(files.get('opt/linked-too')).toMatchObject({ link: 'opt/linked' })
  expect(files.get('tmp/of-the-base')).toMatchObject({ size: 4 })
  expect([...files.keys()].filter((path) => path.startsWith('opt/old'))).toEqual([])
})

test('the engine runs the artifact as it is', async () => {
  const result = await build(`FROM base\nRUN rm -r /opt/old && echo new > /opt/new\n${ending}`)
  const { registry } = room.deps
  const { address, auth } = registry
  await registry.publish({ repository: 'kiln/artifact', manifest: result.artifact })
  const image = { repository: `${address}/kiln/artifact`, digest: result.artifact }
  const reference = await pullByDigest(room.docker, image, { auth })
  let output = ''
  await runContainer(
    room.docker,
    {
      options: {
        Image: reference,
        Cmd: ['sh', '-c', 'cat /opt/new; ls /opt; stat -c %a /tmp /root'],
      },
      signal: AbortSignal.timeout(30_000),
      onOutput: (bytes) => (output += Buffer.from(bytes).toString()),
    },
    async (_container, exitCode) => expect(exitCode).toBe(0),
  )
  expect(output).toBe('new\nlinked\nlinked-too\nnew\n1777\n700\n')
})

test('a RUN that fails is named, with its last twenty lines, and leaves nothing behind', async () => {
  const dockerfile = `FROM base\n# why\nRUN i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; done; exit 7\n${ending}`
  const failure = build(dockerfile)
  await expect(failure).rejects.toMatchObject({
    code: 'build_failed',
    message: 'RUN ended with exit code 7',
    place: 'Dockerfile:3 RUN',
    fix: undefined,
  })
  const { lines } = (await failure.catch((error: unknown) => error)) as { lines: string[] }
  expect(lines.length).toBeLessThanOrEqual(20)
  expect(lines.filter((line) => line.startsWith('line '))).toContain('line 30')
  expect(await remains()).toEqual([])
})

test('a RUN that wants the network fails, and is told that there is none', async () => {
  const wants = `FROM base\nRUN ping -c 1 192.0.2.1\n${ending}`
  await expect(build(wants)).rejects.toMatchObject({
    code: 'build_failed',
    place: 'Dockerfile:2 RUN',
    fix: expect.stringContaining('no network') as string,
  })
})

test('a build step sees no interface but loopback', async () => {
  const result = await build(`FROM base\nRUN ls /sys/class/net > /opt/interfaces\n${ending}`)
  const layer = await layerOf(result)
  expect(layer.find(({ name }) => name === 'opt/interfaces')?.content).toBe('lo\n')
})

test.each(['', 'USER 0:0\n'])('an artifact that would run as root is refused: %j', async (user) => {
  const dockerfile = `FROM base\nRUN echo 1 > /opt/x\n${user}CMD ["/bin/sh"]\n`
  await expect(build(dockerfile)).rejects.toHaveProperty('code', expect.stringMatching(/^invalid_/))
})

test('building again gives the same, and takes away what a crashed attempt left', async () => {
  const id = unique()
  const dockerfile = `FROM base\nCOPY app/ /srv/\nRUN echo 1 > /opt/x\n${ending}`
  const first = await build(dockerfile, { build: id })
  const reference = `${room.deps.registry.address}/kiln/base@${base}`
  // As a killed engine leaves them: the container of a RUN, an image without a name, a tag to push.
  const step = await room.docker.createContainer({
    Image: reference,
    Cmd: ['sh', '-c', 'echo 1 > /left'],
    Env: ['SOURCE_DATE_EPOCH=1'],
  })
  await step.start()
  await step.wait()
  await step.commit()
  const labelled = await room.docker.createContainer({
    Image: reference,
    Cmd: ['sh'],
    Labels: labelsOfBuild({ builder: room.deps.builder, build: id }),
  })
  await labelled.commit({ repo: `${room.deps.registry.address}/kiln/capture/left`, tag: 'built' })
  expect(await remains()).toHaveLength(4)
  expect(await build(dockerfile, { build: id })).toEqual(first)
  expect(await remains()).toEqual([])
})

test('what another build is at is let alone, and taken away when nobody is at it any more', async () => {
  const dockerfile = `FROM base\nRUN echo 1 > /opt/x\n${ending}`
  await build(dockerfile)
  const reference = `${room.deps.registry.address}/kiln/base@${base}`
  const mark = await markBuild(room.docker, {
    builder: room.deps.builder,
    build: 'build:of-another-process',
    base,
  })
  const step = await room.docker.createContainer({
    Image: reference,
    Cmd: ['sh'],
    Env: ['SOURCE_DATE_EPOCH=1'],
  })
  await step.commit()
  await build(dockerfile)
  await expect(step.inspect()).resolves.toHaveProperty('Id', step.id)
  await unmarkBuild(room.docker, mark.name)
  await build(dockerfile)
  expect(await remains()).toEqual([])
})

test('what another Kiln is at, of the very same build, is let alone', async () => {
  const id = unique()
  const dockerfile = `FROM base\nRUN echo 1 > /opt/x\n${ending}`
  await build(dockerfile)
  const other = await room.docker.createContainer({
    Image: `${room.deps.registry.address}/kiln/base@${base}`,
    Cmd: ['sh'],
    Labels: labelsOfBuild({ builder: 'another', build: id }),
  })
  await build(dockerfile, { build: id })
  await expect(other.inspect()).resolves.toMatchObject({ Id: other.id })
  await other.remove()
})

test('a container of somebody else on the base is let alone', async () => {
  const reference = `${room.deps.registry.address}/kiln/base@${base}`
  const other = await room.docker.createContainer({ Image: reference, Cmd: ['sh'] })
  await build(`FROM base\nRUN echo 1 > /opt/x\n${ending}`)
  await expect(other.inspect()).resolves.toMatchObject({ Id: other.id })
  await other.remove()
})

test('a cancelled build ends with the reason, and its container is gone', async () => {
  const cancel = new AbortController()
  const mine = await buildRoom({
    root: room.root,
    store: room.store,
    change: {
      activity: () => ({ signal: cancel.signal, heartbeat: () => undefined }),
      log: (_build, line) => line.includes('begun') && cancel.abort(new Error('no longer wanted')),
    },
  })
  await expect(
    build(`FROM base\nRUN echo begun; sleep 600\n${ending}`, { in: mine }),
  ).rejects.toThrow('no longer wanted')
  await expect.poll(() => remains(), { timeout: 10_000 }).toEqual([])
  await mine.close()
})

test('a build that says nothing for too long is ended', async () => {
  const mine = await buildRoom({
    root: room.root,
    store: room.store,
    change: { limits: { ...defaultBuildLimits, silenceMs: 1500 } },
  })
  await expect(build(`FROM base\nRUN sleep 600\n${ending}`, { in: mine })).rejects.toMatchObject({
    code: 'build_failed',
    message: 'the build said nothing for 1.5 s',
  })
  await expect.poll(() => remains(), { timeout: 10_000 }).toEqual([])
  await mine.close()
})
