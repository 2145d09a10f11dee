import { z } from 'zod'
import type { Definition } from '../domain/definition.ts'
import { isDigest, type Digest } from '../domain/digest.ts'
import { isLabel, parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'
import type { Leaf } from '../domain/statement.ts'

/** What an instance needs of its definition while it lives; it carries it itself. */
export type Settings = Pick<Definition, 'port' | 'readiness' | 'liveness' | 'start' | 'stop'>

/** What Kiln writes on each container it makes. */
export type InstanceLabels = {
  environment: EnvironmentName
  epoch: number
  change: string
  digest: Digest
  definition: Digest
  key: Leaf
  host: string
  settings: Settings
}

const timing = {
  intervalMs: z.number(),
  timeoutMs: z.number(),
  threshold: z.number().exactOptional(),
  rise: z.number().exactOptional(),
}
const probeForm = z.union([
  z.strictObject({ path: z.string(), ...timing }),
  z.strictObject({ tcp: z.literal(true), ...timing }),
])

const settingsForm = z.strictObject({
  port: z.int(),
  readiness: probeForm,
  liveness: probeForm.exactOptional(),
  start: z.strictObject({ timeoutMs: z.number() }),
  stop: z.strictObject({ graceMs: z.number(), drainMs: z.number() }),
})

export function settingsOf({ port, readiness, liveness, start, stop }: Definition): Settings {
  const settings = { port, readiness, start, stop }
  return liveness === undefined ? settings : { ...settings, liveness }
}

export function writeLabels(labels: InstanceLabels): Record<string, string> {
  return {
    'kiln.environment': labels.environment,
    'kiln.epoch': String(labels.epoch),
    'kiln.change': labels.change,
    'kiln.digest': labels.digest,
    'kiln.definition': labels.definition,
    'kiln.key': labels.key,
    'kiln.host': labels.host,
    'kiln.settings': JSON.stringify(labels.settings),
  }
}

const labelsForm = z.object({
  'kiln.environment': z.string().transform((text) => parseEnvironmentName(text).name),
  'kiln.epoch': z
    .string()
    .regex(/^[1-9]\d{0,14}$/)
    .transform(Number),
  'kiln.change': z.string().min(1),
  'kiln.digest': z.custom<Digest>((text) => typeof text === 'string' && isDigest(text)),
  'kiln.definition': z.custom<Digest>((text) => typeof text === 'string' && isDigest(text)),
  'kiln.key': z.string().min(1),
  'kiln.host': z.string().min(1),
  'kiln.settings': z.string().transform((text) => settingsForm.parse(JSON.parse(text))),
})

/** Null when a label is missing or malformed: then Kiln did not make the container. */
export function readLabels(found: Readonly<Record<string, string>>): InstanceLabels | null {
  try {
    const labels = labelsForm.parse(found)
    return {
      environment: labels['kiln.environment'],
      epoch: labels['kiln.epoch'],
      change: labels['kiln.change'],
      digest: labels['kiln.digest'],
      definition: labels['kiln.definition'],
      key: labels['kiln.key'],
      host: labels['kiln.host'],
      settings: labels['kiln.settings'],
    }
  } catch {
    return null
  }
}

/** How one host names what it makes; two hosts on one engine need different prefixes. */
export type Naming = { host: string; prefix: string }

/** `<prefix>.<app>.<environment>`: the environment's network, and how its instances' names begin. */
export function networkName({ prefix }: Naming, environment: EnvironmentName): string {
  return `${prefix}.${environment.replace('/', '.')}`
}

export function instanceName(
  naming: Naming,
  effect: { environment: EnvironmentName; epoch: number },
  number: number,
): string {
  return `${networkName(naming, effect.environment)}.${effect.epoch}.${number}`
}

/**
 * Which environment of this host a container belongs to, or pretends to by this host's label or its names'
 * beginning alone. Null for everything else, what other hosts on the same engine made included.
 */
export function environmentOfContainer(
  { host, prefix }: Naming,
  { name, labels }: { name: string; labels: Readonly<Record<string, string>> },
): EnvironmentName | null {
  const maker = labels['kiln.host']
  if (maker !== undefined && maker !== host) return null
  if (name.startsWith(`${prefix}.`)) return named(name.slice(prefix.length + 1).split('.'))
  return maker === host ? named((labels['kiln.environment'] ?? '').split('/')) : null
}

const rehearsalLabel = 'kiln.rehearsal'

/** No instance's name: an environment's begin with `<prefix>.`, and no host is called with an underscore. */
export function rehearsalName(
  { prefix }: Naming,
  { id, environment }: { id: string; environment: EnvironmentName },
): string {
  return `${prefix}_rehearsal.${environment.replace('/', '.')}.${id.slice(-16)}`
}

/** What a host's rehearsals have instead of an instance's labels: containers and networks alike. */
export function rehearsalLabels({ prefix }: Naming): Record<string, string> {
  return { [rehearsalLabel]: prefix }
}

/** Whose rollback target a container of this host rehearses; null for what is no rehearsal, by its name or its label. */
export function rehearsalOf(
  { prefix }: Naming,
  { name, labels }: { name: string; labels: Readonly<Record<string, string>> },
): { environment: EnvironmentName | null } | null {
  const beginning = `${prefix}_rehearsal.`
  if (name.startsWith(beginning))
    return { environment: named(name.slice(beginning.length).split('.')) }
  return labels[rehearsalLabel] === prefix ? { environment: null } : null
}

function named([app = '', environment = '']: readonly string[]): EnvironmentName | null {
  return isLabel(app) && isLabel(environment) ? `${app}/${environment}` : null
}
