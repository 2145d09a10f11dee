import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { Duplex, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pack } from 'tar-stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDocker, statusOf, type DockerClient } from '../../../src/docker/client.ts'
import type { Entered } from '../../../src/domain/break-glass.ts'
import type { Digest } from '../../../src/domain/digest.ts'
import { guardEngine } from '../../../src/runtime/guard/engine.ts'
import { createGuard, type Admitted } from '../../../src/runtime/guard/guard.ts'
import { serveGuard, type Refused } from '../../../src/runtime/guard/server.ts'
import { findContainers } from '../../../src/runtime/engine.ts'
import { lookWith } from '../../../src/runtime/look.ts'
import { ownDocker, type OwnDocker } from '../../helpers/own-docker.ts'
import {
  environment,
  hostAtHand,
  keyLeaf,
  logger,
  startOf,
  type HostAtHand,
  until,
} from '../host-at-hand.ts'

// A real engine that asks a real guard, and a host that does its work through both.

const plugin = `kg${randomBytes(4).toString('hex')}`
const socketPath = join('/run/docker/plugins', `${plugin}.sock`)

let engine: OwnDocker
let docker: DockerClient
let host: HostAtHand
let served: { close: () => Promise<void> }
let serve: () => Promise<{ close: () => Promise<void> }>
let admitted: Admitted[] = []
let isLedgerAway = false
let entered: Entered[] = []
let rehearsed: Digest[] = []
let noted: Refused[] = []
/** Artifacts and their images in the engine. */
const imageIds = new Map<Digest, string>()

const ledger = {
  artifactsOf: async (id: string) =>
    [...imageIds].filter(([, image]) => image === id).map(([digest]) => digest),
  admitted: async () => {
    if (isLedgerAway) throw new Error('the ledger is away')
    return admitted
  },
  entered: async () => entered,
  rehearsable: async () => rehearsed,
  content: async ({ digest, definition }: { digest: Digest; definition: Digest }) => ({
    imageId: imageIds.get(digest) ?? '',
    definition: host.definitions.get(definition)!,
  }),
}

beforeAll(async () => {
  // The engine starts only when its guard answers, and the guard asks that engine.
  const later = createDocker({ socketPath: '/nowhere' })
  host = await hostAtHand({ docker: later })
  serve = () =>
    serveGuard({
      socketPath,
      logger,
      refused: (refused) => noted.push(refused),
      guard: createGuard({
        naming: host.naming,
        engine: guardEngine(later),
        ledger,
        registryPort: Number(host.images.registry.address.split(':')[1]),
        secretsFolder: host.givenFolder,
        now: () => new Date(),
        logger,
      }),
    })
  served = await serve()
  engine = await ownDocker({ guards: [plugin] })
  docker = createDocker({ socketPath: engine.socketPath })
  Object.assign(later.modem, { socketPath: engine.socketPath })
}, 60_000)
afterAll(async () => {
  await engine?.close()
  await served?.close()
  await host?.close()
})

/** A published artifact under a key of this epoch. */
async function admit(epoch: number, env: Record<string, string>) {
  const digest = await host.artifact(env)
  const { registry } = host.images
  const { username, password } = registry.auth
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  const accept = 'application/vnd.oci.image.manifest.v1+json'
  const address = `http://${registry.address}/v2/hello/manifests/${digest}`
  const answer = await fetch(address, { headers: { authorization, accept } })
  const manifest = (await answer.json()) as { config: { digest: string } }
  imageIds.set(digest, manifest.config.digest)
  const definition = host.define()
  const key = keyLeaf(epoch)
  admitted.push({ environment, digest, definition, key, sequence: epoch })
  return startOf(epoch, { digest, definition, count: 1 })
}

/** What the engine said no with; `allowed` when it did it. */
async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    const done = await work
    if (done instanceof Duplex || done instanceof Readable)
      done.on('error', () => undefined).destroy()
    return 'allowed'
  } catch (error) {
    if (statusOf(error) !== 403) return String(error)
    // An answer to HEAD has no body.
    return /kiln guard: ([a-z-]+);/.exec(String(error))?.[1] ?? 'into-instance'
  }
}

async function shell(container: ReturnType<DockerClient['getContainer']>) {
  const exec = await container.exec({ Cmd: ['/bin/node', '-e', '0'], AttachStdout: true })
  const stream = await exec.start({})
  stream.resume()
  await new Promise((resolve) => stream.once('end', resolve))
}

function archive(): Promise<Buffer> {
  const tar = pack()
  tar.entry({ name: 'x' }, 'x')
  tar.finalize()
  return buffer(tar)
}

/** Every door into a container that there is. */
function doors(reference: string): [string, () => Promise<unknown>][] {
  const container = docker.getContainer(reference)
  return [
    ['exec', () => shell(container)],
    ['attach', () => container.attach({ stream: true, stdout: true })],
    ['cp out', () => container.getArchive({ path: '/service.cjs' })],
    ['stat', () => container.infoArchive({ path: '/service.cjs' })],
    ['cp in', async () => container.putArchive(await archive(), { path: '/tmp' })],
    ['commit', () => container.commit({ repo: plugin })],
    ['update', () => container.update({ Memory: 100_000_000, MemorySwap: 100_000_000 })],
    ['rename', () => container.rename({ name: `${plugin}-renamed` })],
    ['export', () => container.export()],
  ]
}

test('the host does all its work through a guarded engine; nobody enters what it made, by any name', async () => {
  const request = await admit(1, { VERSION: 'guarded' })
  const { instances } = await host.activities.startInstances(request)
  await host.activities.waitReady({ ...request, instances })
  const [first] = instances
  const { id, name } = first!
  noted = []
  for (const reference of [name, id, id.slice(0, 12)]) {
    for (const [door, open] of doors(reference)) {
      expect([door, await outcome(open())]).toEqual([door, 'into-instance'])
    }
  }
  // Each is on record: by which rule, about which instance, and what is known of who asked.
  expect(noted.length).toBe(3 * doors(id).length)
  for (const one of noted)
    expect(one).toMatchObject({ rule: 'into-instance', container: name, environment, user: '' })
  expect(noted.map(({ method, path }) => `${method} ${path.replace(/^\/v[0-9.]+/, '')}`)).toContain(
    `GET /containers/${id}/archive`,
  )
  const by = { since: new Date().toISOString(), by: 'ann', reason: 'it hangs' }
  const inAMinute = new Date(Date.now() + 60_000).toISOString()
  entered = [{ ...by, instance: name, id, until: inAMinute }]
  await shell(docker.getContainer(name))
  entered = []
  expect(await outcome(shell(docker.getContainer(name)))).toBe('into-instance')
  const joined = {
    Image: imageIds.get(request.digest)!,
    HostConfig: { PidMode: `container:${id}` },
  }
  expect(await outcome(docker.createContainer(joined))).toBe('joins-instance')
  // Nothing was done to it, and the host sees so in depth.
  const [found] = await findContainers(host.engine, environment)
  const mould = {
    digest: request.digest,
    definitionDigest: request.definition,
    definition: host.definitions.get(request.definition)!,
    key: request.key,
    imageId: imageIds.get(request.digest)!,
    files: async () => new Map(),
  }
  const { look } = lookWith({ ...host.engine, secrets: { find: async () => null } })
  expect(await look(environment, { name, found: found!, mould, depth: 'content' })).toEqual([])
  expect((await host.activities.observe({ environment })).instances).toMatchObject([
    { healthy: true },
  ])
  // What a person may do by hand is end it.
  await docker.getContainer(id).kill()
  await host.activities.stopInstances({ ...request, keep: [] })
  expect(await findContainers(host.engine, environment)).toEqual([])
}, 40_000)

test('what is not admissible is neither made nor started, whoever asks and by whatever name', async () => {
  const request = await admit(2, { VERSION: 'denied soon' })
  const { instances } = await host.activities.startInstances(request)
  const image = imageIds.get(request.digest)!
  const { id } = instances[0]!
  const before = await docker.createContainer({ Image: image, name: `${plugin}-before` })
  await docker.getImage(image).tag({ repo: plugin, tag: 'mine' })
  admitted = admitted.filter(({ digest }) => digest !== request.digest)
  for (const Image of [image, image.slice(7, 19), `${plugin}:mine`]) {
    expect(await outcome(docker.createContainer({ Image }))).toBe('not-admissible')
  }
  expect(await outcome(before.start())).toBe('not-admissible')
  await docker.getContainer(id).stop({ t: 0 })
  expect(await outcome(docker.getContainer(id).start())).toBe('not-admissible')
  // The host's own check lets it through; the second lock does not.
  const again = host.activities.startInstances({ ...request, count: 2 })
  await expect(again).rejects.toThrow('not-admissible')
  expect(await outcome(before.remove())).toBe('allowed')
}, 40_000)

test('the host rehearses through a guarded engine; nobody enters that either', async () => {
  const { digest } = await admit(4, { VERSION: 'rehearsed', NEVER_READY: '1' })
  admitted = admitted.filter((one) => one.digest !== digest)
  rehearsed = [digest]
  host.targets.add(digest)
  const definition = host.define()
  const request = {
    id: 'rehearsal.1',
    environment,
    key: keyLeaf(4),
    digest,
    definition,
    sequence: 4,
  }
  const working = host.rehearsals.activities.rehearse(request)
  working.catch(() => undefined)
  const filters = JSON.stringify({ label: [`kiln.rehearsal=${host.naming.prefix}`] })
  const find = async () => (await docker.listContainers({ filters }))[0]?.Id
  await until(async () => (await find()) !== undefined)
  for (const [door, open] of doors((await find())!))
    expect([door, await outcome(open())]).toEqual([door, 'into-instance'])
  // As without a guard; ending it is in nobody's way.
  await docker.getContainer((await find())!).kill()
  await expect(working).rejects.toMatchObject({ code: 'change_failed' })
  expect(await find()).toBeUndefined()
}, 40_000)

test("other people's containers are let alone; without a ledger they still are, and Kiln's still end", async () => {
  const request = await admit(3, { VERSION: 'beside' })
  const { instances } = await host.activities.startInstances(request)
  const kept = await docker.createContainer({ Image: imageIds.get(request.digest)! })
  // Another image than the artifact's, though it is made of it.
  await kept.commit({ repo: plugin, tag: 'theirs' })
  isLedgerAway = true
  try {
    // Without its port it would end at once, and nobody can enter what has ended.
    const theirs = { Image: `${plugin}:theirs`, Env: ['PORT=8080', 'VERSION=theirs'] }
    const web = await docker.createContainer({ ...theirs, name: plugin })
    await web.start()
    for (const [door, open] of doors(web.id)) {
      expect([door, await outcome(open())]).toEqual([door, 'allowed'])
    }
    expect(await outcome(docker.createContainer({ Image: imageIds.get(request.digest)! }))).toBe(
      'cannot-tell',
    )
    await web.remove({ force: true })
    await kept.remove()
    expect(await outcome(docker.getContainer(instances[0]!.id).remove({ force: true }))).toBe(
      'allowed',
    )
  } finally {
    isLedgerAway = false
  }
}, 40_000)

test('an engine whose guard is away waits for it before it does anything', async () => {
  await served.close()
  const waiting = docker.listContainers()
  served = await serve()
  expect(await waiting).toEqual([])
  await expect(serve()).rejects.toMatchObject({ code: 'already_running' })
}, 40_000)
