import type { ContainerCreateOptions, ContainerInspectInfo, ImageInspectInfo } from 'dockerode'
import { isDeepStrictEqual } from 'node:util'

/** One way in which a container differs from what it was made as; no value that may be a secret is in it. */
export type Difference = { kind: 'settings' | 'network'; what: string }

/** What the engine tells of a container, as far as it is compared. */
export type Inspected = Pick<
  ContainerInspectInfo,
  'Name' | 'Image' | 'Config' | 'HostConfig' | 'NetworkSettings' | 'Mounts'
>

/** What the artifact's own config says, as the engine tells of its image. */
export type ImageSettings = Pick<ImageInspectInfo, 'Config'>

type Settings = Readonly<Record<string, unknown>>

/**
 * Fields that the engine fills by itself, differently from version to version. None of them gives a
 * container more than it should have, or `must` says which values may stand there.
 */
const engineOwn = new Set([
  'CgroupnsMode',
  'ConsoleSize',
  'Isolation',
  'MaskedPaths',
  'MemorySwappiness',
  'ReadonlyPaths',
  'Runtime',
  'ShmSize',
  'Ulimits',
])
const ipcModes = ['private', 'shareable']

/**
 * Compares what the engine has with what Kiln would make of the definition. Closed-world: a setting that
 * Kiln does not give must be empty, or one that the engine fills by itself. Pure. Of environment
 * variables, labels, commands and log options it says only which differ. What gives it power comes before
 * variables and labels: of many differences only the first are told.
 */
export function settingsDifferences(
  found: Inspected,
  expected: ContainerCreateOptions,
  image: ImageSettings,
): Difference[] {
  const settings = [
    ...same('name', found.Name.slice(1), expected.name),
    ...same('image', found.Image, expected.Image),
    ...same('hostname', found.Config.Hostname, expected.Hostname),
    ...same('user', found.Config.User, image.Config.User),
    ...hidden('command', commandOf(found.Config), commandOf(image.Config)),
    ...hidden('health check', filled(healthcheckOf(found.Config)), null),
    ...hostDifferences(found.HostConfig as Settings, (expected.HostConfig ?? {}) as Settings),
    ...mountDifferences(found.Mounts, expected.HostConfig ?? {}),
    ...names('environment variable', variables(found.Config.Env), {
      ...variables(image.Config.Env),
      ...variables(expected.Env),
    }),
    ...names('label', found.Config.Labels, {
      ...image.Config.Labels,
      ...expected.Labels,
    }),
  ]
  return [
    ...settings.map((what) => ({ kind: 'settings' as const, what })),
    ...networkDifferences(found, expected),
  ]
}

function same(what: string, found: string | undefined, expected: string | undefined): string[] {
  if ((found ?? '') === (expected ?? '')) return []
  return [`${what} is ${show(found)}, not ${show(expected)}`]
}

/** For what may hold a secret. */
function hidden(what: string, found: unknown, expected: unknown): string[] {
  return isDeepStrictEqual(found, expected) ? [] : [`${what} differs`]
}

function names(
  what: string,
  found: Readonly<Record<string, string>>,
  expected: Readonly<Record<string, string>>,
): string[] {
  const all = [...new Set([...Object.keys(found), ...Object.keys(expected)])].toSorted()
  return all
    .filter((name) => found[name] !== expected[name])
    .map((name) => {
      const verb =
        found[name] === undefined
          ? 'is missing'
          : expected[name] === undefined
            ? 'was added'
            : 'changed'
      return `${what} ${show(name)} ${verb}`
    })
}

function variables(env: readonly string[] | null | undefined): Record<string, string> {
  return Object.fromEntries(
    (env ?? []).map((line) => {
      const at = line.indexOf('=')
      return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)]
    }),
  )
}

function commandOf(config: {
  Entrypoint?: string | string[] | null | undefined
  Cmd?: string[] | null | undefined
  WorkingDir?: string | undefined
}): unknown {
  return [[config.Entrypoint ?? []].flat(), config.Cmd ?? [], config.WorkingDir ?? '']
}

function healthcheckOf(config: object): unknown {
  return 'Healthcheck' in config ? config.Healthcheck : null
}

function hostDifferences(found: Settings, expected: Settings): string[] {
  const all = [...new Set([...Object.keys(found), ...Object.keys(expected)])].toSorted()
  return all.flatMap((name) => {
    if (engineOwn.has(name) && !(name in expected)) return masked(name, found)
    if (name === 'IpcMode' && ipcModes.includes(String(found[name]))) return []
    const [is, should] = [filled(found[name]), filled(expected[name])]
    if (isDeepStrictEqual(is, should)) return []
    return [
      name === 'LogConfig' ? `${name} differs` : `${name} is ${show(is)}, not ${show(should)}`,
    ]
  })
}

/** Without its masks a container sees the kernel's own files. */
function masked(name: string, found: Settings): string[] {
  const must = name === 'MaskedPaths' || name === 'ReadonlyPaths'
  return must && filled(found[name]) === null ? [`${name} is empty`] : []
}

/** The value without what is empty in it: null, 0, false, '', [] and {} all mean that nothing is set. */
function filled(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? null : value.map(filled).toSorted(byText)
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
      .map(([name, inner]) => [name, filled(inner)] as const)
      .filter(([, inner]) => inner !== null)
    return entries.length === 0 ? null : Object.fromEntries(entries)
  }
  return value === '' || value === 0 || value === false || value === undefined ? null : value
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1
}

/** Where the container's own files are hidden by something that Kiln asked for. */
export function mountPoints({
  HostConfig: host = {},
}: Pick<ContainerCreateOptions, 'HostConfig'>): string[] {
  return [
    ...Object.keys(host.Tmpfs ?? {}),
    ...(host.Binds ?? []).map((bind) => bind.split(':')[1] ?? ''),
    ...(host.Mounts ?? []).map((mount) => mount.Target),
  ]
}

function mountDifferences(
  found: ContainerInspectInfo['Mounts'],
  host: NonNullable<ContainerCreateOptions['HostConfig']>,
): string[] {
  const expected = mountPoints({ HostConfig: host })
  const present = found.map((mount) => mount.Destination)
  const wanted = [
    ...(host.Binds ?? []).map((bind) => bind.split(':')[1] ?? ''),
    ...(host.Mounts ?? []).map((mount) => mount.Target),
  ]
  return [
    ...present
      .filter((target) => !expected.includes(target))
      .map((target) => `mount at ${show(target)} was added`),
    ...wanted
      .filter((target) => !present.includes(target))
      .map((target) => `mount at ${show(target)} is missing`),
  ]
}

function networkDifferences(found: Inspected, expected: ContainerCreateOptions): Difference[] {
  const wanted = expected.HostConfig?.NetworkMode ?? ''
  const present = Object.keys(found.NetworkSettings.Networks)
  const added = present
    .filter((name) => name !== wanted)
    .map((name) => `network ${show(name)} was added`)
  const missing = present.includes(wanted) ? [] : [`network ${show(wanted)} is missing`]
  return [...added, ...missing].map((what) => ({ kind: 'network', what }))
}

function show(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing')
  return text === 'null' || text === '' ? 'nothing' : text.slice(0, 200)
}
