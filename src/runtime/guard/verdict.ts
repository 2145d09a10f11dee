import type { ContainerCreateOptions } from 'dockerode'
import { isDeepStrictEqual } from 'node:util'
import type { EnvironmentName } from '../../domain/name.ts'
import {
  environmentOfContainer,
  instanceName,
  readLabels,
  rehearsalOf,
  type Naming,
} from '../label.ts'
import type { InstanceLabels } from '../label.ts'

export type GuardRule =
  | 'into-instance'
  | 'joins-instance'
  | 'not-admissible'
  | 'not-as-defined'
  | 'unreadable'
  | 'cannot-tell'

/** What a refusal is about, as far as it is known. */
export type About = { container: string | null; environment: EnvironmentName | null }

export type Verdict = { allow: true } | ({ allow: false; rule: GuardRule; message: string } & About)

/** What the engine says of a container. */
export type Seen = {
  id: string
  name: string
  labels: Readonly<Record<string, string>>
  imageId: string
  /** The image as it was named when the container was made. */
  image: string
  /** Containers that it shares namespaces or volumes with. */
  joins: readonly string[]
}

export const allowed: Verdict = { allow: true }

export function refusal(
  rule: GuardRule,
  message: string,
  { container = null, environment = null }: Partial<About> = {},
): Exclude<Verdict, { allow: true }> {
  const text = `${message} (kiln guard: ${rule}; docs/guard.md)`
  return { allow: false, rule, message: text, container, environment }
}

/** A container of this host that nobody enters. */
export type Closed = About & { kind: 'instance' | 'rehearsal'; container: string }

/** The closed container that a reference means; null: it is none. Of `seen` as `instanceOf`. */
export function closedOf(
  naming: Naming,
  reference: string,
  seen: Pick<Seen, 'name' | 'labels'> | null,
): Closed | null {
  const container = seen?.name ?? reference.replace(/^\/+/, '')
  const environment = instanceOf(naming, reference, seen)
  if (environment !== null) return { kind: 'instance', container, environment }
  const rehearsed = rehearsalOf(naming, { name: container, labels: seen?.labels ?? {} })
  return rehearsed === null ? null : { kind: 'rehearsal', container, ...rehearsed }
}

/**
 * Whose instance a reference means; null: none of this host's. `seen` is null where the engine knows of
 * no such container: then only a name that Kiln alone gives is Kiln's.
 */
export function instanceOf(
  naming: Naming,
  reference: string,
  seen: Pick<Seen, 'name' | 'labels'> | null,
): EnvironmentName | null {
  return environmentOfContainer(naming, seen ?? { name: reference.replace(/^\/+/, ''), labels: {} })
}

/** Whether a create pretends to be an instance, by a name or its labels. */
export function pretendsIn(
  naming: Naming,
  { names, labels }: { names: readonly string[]; labels: Readonly<Record<string, string>> },
): EnvironmentName | null {
  const all = names.length === 0 ? [''] : names
  const found = all.map((name) => environmentOfContainer(naming, { name, labels }))
  return found.find((environment) => environment !== null) ?? null
}

/** What an instance's labels and its name say, where they are whole and fit each other; null otherwise. */
export function identityOf(
  naming: Naming,
  { names, labels: found }: { names: readonly string[]; labels: Readonly<Record<string, string>> },
): { name: string; number: number; labels: InstanceLabels } | null {
  const labels = readLabels(found)
  const [name = '', another] = names
  const number = Number(name.split('.').at(-1))
  if (labels === null || labels.host !== naming.host || another !== undefined) return null
  if (!Number.isSafeInteger(number) || number < 1) return null
  return name === instanceName(naming, labels, number) ? { name, number, labels } : null
}

/** Names of what differs between a create's body and what Kiln would make; no value, which may be a secret. */
export function differences(
  body: Readonly<Record<string, unknown>>,
  options: ContainerCreateOptions,
): string[] {
  // As it looks on its way to the engine.
  const expected = JSON.parse(JSON.stringify(options)) as Record<string, unknown>
  const all = [...new Set([...Object.keys(body), ...Object.keys(expected)])].toSorted()
  return all.flatMap((name) => {
    if (isDeepStrictEqual(body[name], expected[name])) return []
    return name === 'HostConfig' ? inner(body[name], expected[name]) : [name]
  })
}

function inner(found: unknown, expected: unknown): string[] {
  if (typeof found !== 'object' || found === null) return ['HostConfig']
  const [is, should] = [found as Record<string, unknown>, expected as Record<string, unknown>]
  const all = [...new Set([...Object.keys(is), ...Object.keys(should)])].toSorted()
  return all.filter((name) => !isDeepStrictEqual(is[name], should[name]))
}

/** Artifacts of Kiln's registry that these names of an image speak of; an empty digest: by a tag. */
export function ownReferences(
  references: readonly string[],
  registryPort: number,
): readonly { digest: string }[] {
  const own = new RegExp(String.raw`^(127\.0\.0\.1|localhost|\[::1\]):${registryPort}/`, 'i')
  return references
    .filter((reference) => own.test(reference))
    .map((reference) => ({ digest: reference.split('@')[1] ?? '' }))
}
