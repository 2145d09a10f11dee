import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import type { Endpoint } from '../../src/domain/effect.ts'
import type { Drift } from '../../src/domain/request.ts'
import type { FileRecord } from '../../src/oci/files-manifest.ts'
import type { ExpectedMould } from '../../src/runtime/look.ts'
import { removeEnvironment } from '../../src/runtime/instances.ts'
import {
  docker,
  effectOf,
  environment,
  hostAtHand,
  inspect,
  until,
  type HostAtHand,
} from './host-at-hand.ts'
import { judgeOf, standing, watched, type Told } from './watch-at-hand.ts'

/** Below the minute after which everything is looked at anyhow: what is shown here is not that. */
const limit = { timeout: 40_000 }

let host: HostAtHand
let artifact: Digest
let epoch = 0
let instances: readonly Endpoint[] = []
let mould: ExpectedMould
let drifts: Drift[] = []
let told: Told
const manifest = new Map<string, FileRecord>()

beforeAll(async () => {
  host = await hostAtHand()
  artifact = await host.artifact({ VERSION: 'whole', FROM_IMAGE: 'yes' })
}, 60_000)
beforeEach(async () => {
  const begun = await standing(host, { epoch: ++epoch, artifact, count: 2 })
  ;({ instances } = begun)
  mould = { ...begun.mould, files: async () => manifest }
  drifts = []
  told = {
    instances: () => instances.map(({ name, id }) => ({ name, id, digest: artifact })),
    mould: () => mould,
    onDrift: async (news) => void drifts.push(...news),
  }
})
afterEach(() => removeEnvironment(host.engine, environment))
afterAll(() => host.close())

function first(): Endpoint {
  const [one] = instances
  if (one === undefined) throw new Error('nothing was started')
  return one
}

async function upper(): Promise<string> {
  const { GraphDriver } = await inspect(first().id)
  const { UpperDir } = GraphDriver.Data as unknown as { UpperDir: string }
  return UpperDir
}

/** What one deep look finds: of which instance, and what. */
async function found(depth: 'settings' | 'content' = 'content'): Promise<Drift[]> {
  return [...(await judgeOf(host, told)(environment, depth)).drifts]
}

async function service(): Promise<Buffer> {
  return readFile(new URL('../helpers/instance-server.cjs', import.meta.url))
}

const sha256 = (bytes: Buffer | string) =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

test('what Kiln started as it is has no finding, and writes nothing', limit, async () => {
  expect(await found()).toEqual([])
})

test('a file that was changed is named with both digests', limit, async () => {
  const before = sha256(await service()) as Digest
  manifest.set('service.cjs', {
    path: 'service.cjs',
    type: 'file',
    mode: '0644',
    owner: '0:0',
    digest: before,
  })
  await writeFile(join(await upper(), 'service.cjs'), 'process.exit(1)', { mode: 0o644 })
  const [drift, ...more] = await found()
  expect(more).toEqual([])
  expect(drift).toMatchObject({ instance: first().name, cause: 'content' })
  expect(drift?.found).toBe(
    `changed /service.cjs: ${sha256('process.exit(1)')} (0644 0:0), not ${before} (0644 0:0)`,
  )
})

test(
  'a file that was added is named with its digest, and nothing of its content',
  limit,
  async () => {
    await mkdir(join(await upper(), 'tools/deep'), { recursive: true })
    await writeFile(join(await upper(), 'tools/deep/miner'), 'canary-content', { mode: 0o755 })
    const [drift] = await found()
    expect(drift?.found).toBe(
      `added /tools/deep/miner: ${sha256('canary-content')} (0755 0:0), not nothing`,
    )
    expect(JSON.stringify(drift)).not.toContain('canary')
  },
)

test('a file that was removed is named with the digest that it had', limit, async () => {
  const digest = sha256('x') as Digest
  manifest.set('bin/node', { path: 'bin/node', type: 'file', mode: '0755', owner: '0:0', digest })
  await mkdir(join(await upper(), 'bin'))
  await promisify(execFile)('mknod', [join(await upper(), 'bin/node'), 'c', '0', '0'])
  const [drift] = await found()
  expect(drift?.found).toBe(`removed /bin/node: nothing, not ${digest} (0755 0:0)`)
})

/** The host as it is where it may not read the engine's folders. */
function blindHost(more: object = {}): HostAtHand {
  const real = host.engine.docker.getContainer.bind(host.engine.docker)
  const blind = Object.assign(Object.create(host.engine.docker), {
    getContainer: (id: string) => {
      const container = real(id)
      const see = container.inspect.bind(container)
      return Object.assign(container, more, {
        inspect: async () => {
          const info = await see()
          return { ...info, GraphDriver: { Name: 'overlay2', Data: { UpperDir: '/nowhere' } } }
        },
      })
    },
  })
  const other = { ...host, engine: { docker: blind, naming: host.naming } } as HostAtHand
  return Object.defineProperty(other, 'fence', { get: () => host.fence })
}

test('a host that may not read the engine’s folders asks the engine', limit, async () => {
  await writeFile(join(await upper(), 'added'), 'canary-content', { mode: 0o600 })
  const { drifts: seen } = await judgeOf(blindHost(), told)(environment, 'content')
  expect(seen.map((one) => one.found)).toEqual([
    `added /added: ${sha256('canary-content')} (0600 0:0), not nothing`,
  ])
  // Where the guard lets nobody at the files, it tells of the other instance that there is one.
  const next = instances[1]!
  const { UpperDir } = (await inspect(next.id)).GraphDriver.Data as unknown as { UpperDir: string }
  await writeFile(join(UpperDir, 'hidden'), 'canary-content')
  told.instances = () => [{ name: next.name, id: next.id, digest: artifact }]
  const refused = Object.assign(new Error('authorization denied'), { statusCode: 403 })
  const guarded = judgeOf(blindHost({ getArchive: () => Promise.reject(refused) }), told)
  const { drifts: less, complete } = await guarded(environment, 'content')
  expect(complete).toBe(true)
  expect(less.map((one) => one.found)).toContain(
    'added /hidden: something that the engine does not show, not nothing',
  )
})

test(
  'who is let in taints the instance at once; what is done inside is told when the time is over',
  limit,
  async () => {
    const { name, id } = first()
    const leave = { since: '2026-11-28T03:00:00Z', by: 'ann', reason: 'it hangs' }
    let ends = new Date(Date.now() + 60_000).toISOString()
    told.entered = () => [{ ...leave, instance: name, id, until: ends }]
    await found('settings')
    // Durable, and no change keeps it.
    await host.handedOver(async () => undefined)
    const { instances: seen } = await host.activities.observe({ environment })
    expect(seen.map((one) => [one.name, one.healthy])).toEqual([
      [name, false],
      [instances[1]?.name, true],
    ])
    await writeFile(join(await upper(), 'added'), 'x')
    // Who asks is told; nobody replaces it yet.
    expect((await found()).map(({ cause }) => cause)).toEqual(['break-glass', 'content'])
    expect(drifts).toEqual([])
    ends = new Date().toISOString()
    await found('settings')
    expect(drifts.map(({ instance, cause }) => [instance, cause])).toEqual([
      [name, 'break-glass'],
      [name, 'content'],
    ])
    expect(drifts[0]?.found).toBe('ann was let in at 2026-11-28T03:00:00Z: it hangs')
  },
)

test('a process from outside is found, its arguments are not told', limit, async () => {
  const exec = await docker.getContainer(first().id).exec({
    Cmd: ['/bin/node', '-e', 'setTimeout(() => {}, 60000)', 'canary-argument'],
  })
  await exec.start({ Detach: true })
  const [drift, ...more] = await found()
  expect(more).toEqual([])
  expect(drift).toMatchObject({ instance: first().name, cause: 'process' })
  // At its very first moment it is the engine's own program.
  expect(drift?.found).toMatch(/^a process from outside: (\/bin\/node|runc)$/)
})

test('an exec that has ended is found by its event', limit, async () => {
  const ending = new AbortController()
  const watching = watched(host, told, ending.signal)
  const exec = await docker.getContainer(first().id).exec({ Cmd: ['/bin/node', '--version'] })
  await exec.start({ Detach: true })
  await until(() => drifts.length > 0)
  ending.abort()
  await watching
  expect(drifts.map(({ instance, cause }) => [instance, cause])).toEqual([
    [first().name, 'process'],
  ])
})

test('a limit that was raised is found by its event', limit, async () => {
  const ending = new AbortController()
  const watching = watched(host, told, ending.signal)
  await docker.getContainer(first().id).update({ PidsLimit: 999 })
  await until(() => drifts.length > 0)
  ending.abort()
  await watching
  expect(drifts).toMatchObject([
    { instance: first().name, cause: 'settings', found: 'PidsLimit is 999, not 64' },
  ])
})

test('a restart policy that was set is found', limit, async () => {
  await docker.getContainer(first().id).update({ RestartPolicy: { Name: 'always' } })
  expect((await found('settings')).map((one) => one.found)).toEqual([
    'RestartPolicy is {"Name":"always"}, not {"Name":"no"}',
  ])
})

test('a network that was joined is found by its event', limit, async () => {
  const network = await docker.createNetwork({ Name: `${host.naming.prefix}-other` })
  const ending = new AbortController()
  const watching = watched(host, told, ending.signal)
  try {
    await network.connect({ Container: first().id })
    await until(() => drifts.length > 0)
  } finally {
    ending.abort()
    await watching
    await network.disconnect({ Container: first().id, Force: true })
    await network.remove()
  }
  expect(drifts).toMatchObject([
    {
      instance: first().name,
      cause: 'network',
      found: `network ${host.naming.prefix}-other was added`,
    },
  ])
})

test('a network that was left is found', limit, async () => {
  const network = `${host.naming.prefix}.hello.prod`
  await docker.getNetwork(network).disconnect({ Container: first().id, Force: true })
  expect(await found('settings')).toMatchObject([
    { instance: first().name, cause: 'network', found: `network ${network} is missing` },
  ])
})

test('a name that was changed is found', limit, async () => {
  await docker.getContainer(first().id).rename({ name: `${first().name}.x` })
  const [drift] = await found('settings')
  expect(drift).toMatchObject({ instance: first().name, cause: 'settings' })
  expect(drift?.found).toContain(`name is ${first().name}.x`)
})

test(
  'what was found stays found, and the instance is not kept by the next change',
  limit,
  async () => {
    await writeFile(join(await upper(), 'added'), 'x')
    await found()
    await promisify(execFile)('rm', [join(await upper(), 'added')])
    expect((await found('settings')).map(({ cause }) => cause)).toEqual(['content'])
    await host.handedOver(async () => undefined)
    const { instances: seen } = await host.activities.observe({ environment })
    expect(seen.map(({ name, healthy }) => [name, healthy])).toEqual(
      instances.map(({ name, id }) => [name, id !== first().id]),
    )
    await host.activities.stopInstances({ ...effectOf(epoch), keep: [] })
    expect(host.fence.record(environment).tainted).toEqual({})
  },
)

test('an instance whose store does not answer is still missed when it is gone', limit, async () => {
  mould = {
    ...mould,
    get definition(): never {
      throw new Error('the store does not answer')
    },
  }
  await docker.getContainer(first().id).remove({ force: true })
  expect((await found()).map(({ cause }) => cause)).toEqual(['removed'])
})
