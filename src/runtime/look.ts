import type { ContainerCreateOptions, ImageInspectInfo } from 'dockerode'
import type { Definition } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Leaf } from '../domain/statement.ts'
import { callDocker, type DockerClient } from '../docker/client.ts'
import type { FileRecord } from '../oci/files-manifest.ts'
import { containerOptions, type ContainerPlan } from './container.ts'
import type { Engine, Found } from './engine.ts'
import { describeFiles, fileDrifts } from './file-drift.ts'
import type { Taint } from './host-record.ts'
import { networkName, settingsOf } from './label.ts'
import { readTop, strangers, topArguments } from './processes.ts'
import type { SecretFiles } from './secret-files.ts'
import { mountPoints, settingsDifferences } from './settings-drift.ts'
import { writableLayer } from './writable-layer.ts'

/** What an environment's instances are made of, from the verified ledger and the store alone. */
export type ExpectedMould = {
  digest: Digest
  definitionDigest: Digest
  definition: Definition
  key: Leaf
  /** The image's id in the engine: the digest of the config that the artifact's manifest names. */
  imageId: string
  /** The artifact's per-file manifest, by path. */
  files: () => Promise<ReadonlyMap<string, FileRecord>>
}

/** `settings`: what the engine tells at once. `content`: files and processes too. */
export type Depth = 'settings' | 'content'

export type Look = (
  environment: EnvironmentName,
  seen: { name: string; found: Found; mould: ExpectedMould; depth: Depth },
) => Promise<Taint[]>

/** What in a container that Kiln did not make differs from the instance of this name; null when nothing does. */
export type LookAtStranger = (
  environment: EnvironmentName,
  seen: { name: string; found: Found; mould: ExpectedMould },
) => Promise<string | null>

type LookDependencies = Engine & { secrets: Pick<SecretFiles, 'find'> }

/** Both compare with what the key says. `look`: a container that ends meanwhile has no findings. */
export function lookWith(dependencies: LookDependencies): {
  look: Look
  lookAtStranger: LookAtStranger
} {
  const { docker } = dependencies
  const images = new Map<string, ImageInspectInfo>()
  const compare = async (
    environment: EnvironmentName,
    seen: { name: string; found: Found; mould: ExpectedMould },
  ) => {
    const options = await optionsOf(dependencies, environment, seen)
    const image = await imageOf(docker, images, seen.mould.imageId)
    return { options, image }
  }

  const look: Look = async (environment, { name, found, mould, depth }) => {
    const { options, image } = await compare(environment, { name, found, mould })
    const settings = settingsTaints(settingsDifferences(found.info, options, image))
    if (depth === 'settings') return settings
    try {
      const strange = strangers(await processesOf(docker, found.id), found.info.State.Pid)
      const entries = await writableLayer(docker, found.info)
      const files =
        entries.length === 0 ? [] : fileDrifts(entries, await mould.files(), mountPoints(options))
      return [
        ...settings,
        ...strange.slice(0, 1).map(({ program }) => processTaint(program, strange.length)),
        ...(files.length === 0 ? [] : [{ cause: 'content', found: describeFiles(files) } as const]),
      ]
    } catch (error) {
      // It ended: that is a finding of its own, by its event.
      if (await isRunning(docker, found.id)) throw error
      return settings
    }
  }

  /** That it has another name says nothing of what it may do. */
  const lookAtStranger: LookAtStranger = async (environment, { name, found, mould }) => {
    const { options, image } = await compare(environment, { name, found, mould })
    const { Hostname = '' } = options
    const info = { ...found.info, Name: `/${name}`, Config: { ...found.info.Config, Hostname } }
    const differences = settingsDifferences(info, options, image)
    return differences.length === 0 ? null : textOf(differences)
  }
  return { look, lookAtStranger }
}

async function optionsOf(
  { docker, naming, secrets }: LookDependencies,
  environment: EnvironmentName,
  seen: { name: string; found: Found; mould: ExpectedMould },
): Promise<ContainerCreateOptions> {
  const { name, mould } = seen
  return containerOptions({
    ...expectedPlan({ docker, naming }, environment, seen),
    secrets: mould.definition.secrets === undefined ? null : await secrets.find(name),
  })
}

export function processTaint(program: string, count: number): Taint {
  const more = count > 1 ? ` and ${count - 1} more` : ''
  return { cause: 'process', found: `a process from outside: ${program}${more}` }
}

/** How Kiln would make the instance of this name today. Which change made it, its labels alone say. */
function expectedPlan(
  { naming }: Engine,
  environment: EnvironmentName,
  { name, found, mould }: { name: string; found: Found; mould: ExpectedMould },
): Omit<ContainerPlan, 'secrets'> {
  const { digest, definition, definitionDigest, key, imageId } = mould
  const network = networkName(naming, environment)
  const [epoch = 0, number = 0] = name
    .slice(network.length + 1)
    .split('.')
    .map(Number)
  return {
    name,
    number,
    imageId,
    network,
    definition,
    labels: {
      environment,
      epoch,
      change: found.info.Config.Labels['kiln.change'] ?? '',
      digest,
      definition: definitionDigest,
      key,
      host: naming.host,
      settings: settingsOf(definition),
    },
  }
}

function settingsTaints(differences: ReturnType<typeof settingsDifferences>): Taint[] {
  return (['settings', 'network'] as const).flatMap((cause) => {
    const own = differences.filter(({ kind }) => kind === cause)
    return own.length === 0 ? [] : [{ cause, found: textOf(own) }]
  })
}

/** Statements are bounded. */
function textOf(differences: readonly { what: string }[]): string {
  const named = differences.slice(0, 20).map(({ what }) => what)
  return named.join('; ').slice(0, 4000)
}

/** Images never change under their id. */
async function imageOf(
  docker: DockerClient,
  known: Map<string, ImageInspectInfo>,
  id: string,
): Promise<ImageInspectInfo> {
  const found = known.get(id) ?? (await callDocker(() => docker.getImage(id).inspect()))
  if (known.size > 100) known.clear()
  known.set(id, found)
  return found
}

async function processesOf(docker: DockerClient, id: string) {
  const top = (await callDocker(() => docker.getContainer(id).top({ ps_args: topArguments }))) as {
    Processes: string[][]
  }
  return readTop(top.Processes)
}

async function isRunning(docker: DockerClient, id: string): Promise<boolean> {
  try {
    const { State } = await callDocker(() => docker.getContainer(id).inspect())
    return State.Running
  } catch (error) {
    if (error instanceof KilnError && error.code === 'not_found') return false
    throw error
  }
}
