import type { ContainerCreateOptions } from 'dockerode'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDocker } from '../../src/docker/client.ts'
import type { Endpoint } from '../../src/domain/effect.ts'
import type { Drift } from '../../src/domain/request.ts'
import { removeEnvironment } from '../../src/runtime/instances.ts'
import type { ExpectedMould } from '../../src/runtime/look.ts'
import { ownDocker, type OwnDocker } from '../helpers/own-docker.ts'
import {
  containersOf,
  docker,
  effectOf,
  environment,
  hostAtHand,
  inspect,
  until,
  type HostAtHand,
} from './host-at-hand.ts'
import { judgeOf, standing, watched, type Told } from './watch-at-hand.ts'

/** Below the half minute after which everything is compared anyhow, from the watch's start on. */
const limit = { timeout: 25_000 }
const canary = 'canary-value'

function toldOf(instances: readonly Endpoint[], mould: ExpectedMould, drifts: Drift[]): Told {
  return {
    instances: () => instances.map(({ name, id }) => ({ name, id, digest: mould.digest })),
    mould: () => mould,
    onDrift: async (news) => void drifts.push(...news),
  }
}

/** How the engine made the instance. */
async function madeAs(id: string): Promise<ContainerCreateOptions> {
  const { Name, Image, Config, HostConfig } = await inspect(id)
  const { Hostname, Env, Labels } = Config
  return { name: Name.slice(1), Image, Hostname, Env, Labels, HostConfig }
}

type Forge = (made: ContainerCreateOptions) => ContainerCreateOptions

function hosted(change: NonNullable<ContainerCreateOptions['HostConfig']>): Forge {
  return (made) => ({ ...made, HostConfig: { ...made.HostConfig, ...change } })
}

const foreign = (all: readonly Drift[]) => all.filter(({ cause }) => cause === 'foreign')

describe('a container made by hand in the place of an instance, with its name, image and every label', () => {
  let host: HostAtHand
  let instances: readonly Endpoint[]
  let mould: ExpectedMould

  beforeAll(async () => {
    host = await hostAtHand()
    const artifact = await host.artifact({ VERSION: 'forged' })
    const count = forges.length + 1
    ;({ instances, mould } = await standing(host, { epoch: 1, artifact, count }))
  }, 120_000)
  afterAll(() => host.close())

  const forges: [string, Forge, string][] = [
    [
      'other capabilities',
      hosted({ CapAdd: ['SYS_ADMIN'], CapDrop: [] }),
      'CapAdd is ["SYS_ADMIN"], not nothing; CapDrop is nothing, not ["ALL"]',
    ],
    [
      'a mount',
      hosted({ Binds: ['/etc:/host:ro'] }),
      'Binds is ["/etc:/host:ro"], not nothing; mount at /host was added',
    ],
    [
      'other variables',
      ({ Env = [], ...made }) => ({
        ...made,
        Env: [...Env.map((one) => one.replace('GREETING=', `GREETING=${canary}`)), `X=${canary}`],
      }),
      'environment variable GREETING changed; environment variable X was added',
    ],
    [
      'another label',
      (made) => ({ ...made, Labels: { ...made.Labels, 'kiln.key': canary } }),
      'label kiln.key changed',
    ],
    [
      "the machine's own network",
      ({ Hostname: _none, ...made }) => hosted({ NetworkMode: 'host' })(made),
      'NetworkMode is host, not ',
    ],
    ['nothing else', (made) => made, 'that Kiln did not make'],
  ]

  test(
    'is found by its event, told as it is, and ended by the change that replaces it',
    limit,
    async () => {
      const drifts: Drift[] = []
      const told = toldOf(instances, mould, drifts)
      const ending = new AbortController()
      const watching = watched(host, told, ending.signal)
      for (const [index, [, forge]] of forges.entries()) {
        const { id = '' } = instances[index] ?? {}
        const made = await madeAs(id)
        await docker.getContainer(id).remove({ force: true })
        await (await docker.createContainer(forge(made))).start()
      }
      await until(() => foreign(drifts).length === forges.length)
      ending.abort()
      await watching

      const byName = (all: readonly Drift[]) =>
        instances.flatMap(({ name }) => foreign(all).find((one) => one.instance === name) ?? [])
      for (const [index, { found }] of byName(drifts).entries()) {
        expect(found).toContain(`a container of ${mould.imageId} that Kiln did not make`)
        expect(found).toContain(forges[index]?.[2])
      }
      expect(JSON.stringify(drifts)).not.toContain(canary)
      // A scan says the same, and the change that replaces them ends them.
      const scan = await judgeOf(host, told)(environment, 'content')
      expect(byName(scan.drifts)).toEqual(byName(drifts))
      const last = instances.at(-1)?.name ?? ''
      await host.activities.stopInstances({ ...effectOf(1), keep: [last] })
      expect(await containersOf(host)).toEqual([last])
    },
  )
})

describe("an instance that root changed in the engine's own files, while the engine was down", () => {
  let engine: OwnDocker
  let host: HostAtHand

  beforeAll(async () => {
    engine = await ownDocker({ live: true })
    host = await hostAtHand({ docker: createDocker({ socketPath: engine.socketPath }) })
  }, 120_000)
  afterAll(async () => {
    await removeEnvironment(host.engine, environment)
    await host.close()
    await engine.close()
  }, 60_000)

  type Edited = {
    config: { Config: { Env: string[]; Labels: Record<string, string> }; MountPoints: object }
    host: Record<string, unknown>
  }

  async function edit(id: string, change: (of: Edited) => void): Promise<void> {
    const file = (name: string) => join(dirname(engine.socketPath), 'data', 'containers', id, name)
    const [config, own] = [file('config.v2.json'), file('hostconfig.json')]
    const of = {
      config: JSON.parse(await readFile(config, 'utf8')) as Edited['config'],
      host: JSON.parse(await readFile(own, 'utf8')) as Edited['host'],
    }
    change(of)
    await writeFile(config, JSON.stringify(of.config))
    await writeFile(own, JSON.stringify(of.host))
  }

  const mountPoint = {
    Type: 'bind',
    Source: '/etc',
    Destination: '/host',
    RW: true,
    Name: '',
    Driver: '',
    Propagation: 'rprivate',
    Spec: { Type: 'bind', Source: '/etc', Target: '/host' },
  }
  const edits: [string, (of: Edited) => void, string][] = [
    ['as it was', () => undefined, ''],
    [
      'capabilities',
      ({ host: own }) => (own['CapAdd'] = ['NET_RAW']),
      'CapAdd is ["NET_RAW"], not nothing',
    ],
    [
      'a mount',
      ({ config, host: own }) => {
        own['Binds'] = ['/etc:/host']
        config.MountPoints = { '/host': mountPoint }
      },
      'Binds is ["/etc:/host"], not nothing; mount at /host was added',
    ],
    [
      'a variable',
      ({ config }) => config.Config.Env.push(`LD_PRELOAD=${canary}`),
      'environment variable LD_PRELOAD was added',
    ],
    [
      'a label',
      ({ config }) => (config.Config.Labels['kiln.digest'] = canary),
      'label kiln.digest changed',
    ],
  ]

  test('each is found when the engine comes back, named, and no longer kept', async () => {
    const artifact = await host.artifact({ VERSION: 'edited' })
    const { instances, mould } = await standing(host, { epoch: 1, artifact, count: edits.length })
    const drifts: Drift[] = []
    const ending = new AbortController()
    const watching = watched(host, toldOf(instances, mould, drifts), ending.signal)
    await engine.stop('SIGTERM')
    for (const [index, [, change]] of edits.entries())
      await edit(instances[index]?.id ?? '', change)
    await engine.start()
    await until(() => drifts.length >= edits.length - 1)
    ending.abort()
    await watching

    const found = instances.flatMap(({ name }) => drifts.filter((one) => one.instance === name))
    expect(found.map(({ cause, found: says }) => [cause, says])).toEqual(
      edits.slice(1).map(([, , says]) => ['settings', says]),
    )
    expect(JSON.stringify(drifts)).not.toContain(canary)
    const seen = await host.activities.observe({ environment })
    const healthy = seen.instances.filter((one) => one.healthy)
    expect(healthy.map(({ name }) => name)).toEqual([instances[0]?.name])
  }, 60_000)
})
