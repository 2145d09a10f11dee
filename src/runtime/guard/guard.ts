import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { isOpen, type Entered } from '../../domain/break-glass.ts'
import type { Definition } from '../../domain/definition.ts'
import type { Digest } from '../../domain/digest.ts'
import type { Admission } from '../../domain/ledger.ts'
import type { EnvironmentName } from '../../domain/name.ts'
import { containerOptions } from '../container.ts'
import { networkName, readLabels, settingsOf, type InstanceLabels, type Naming } from '../label.ts'
import type { CreateBody } from './create-body.ts'
import type { GuardEngine } from './engine.ts'
import { readRequest, type Asked, type AuthzRequest } from './request.ts'
import {
  allowed,
  closedOf,
  differences,
  identityOf,
  instanceOf,
  ownReferences,
  pretendsIn,
  refusal,
  type Closed,
  type Seen,
  type Verdict,
} from './verdict.ts'

/** What may start in one environment now. */
export type Admitted = Admission & { environment: EnvironmentName }

/** The verified ledger, as this host has it. */
export type GuardLedger = {
  /** Artifacts whose image has this id in the engine; throws while the ledger was never read. */
  artifactsOf: (imageId: string) => Promise<readonly Digest[]>
  /** Throws where nobody can vouch for the ledger now. What this host saw denied is not in it. */
  admitted: () => Promise<readonly Admitted[]>
  /** Who may enter which instance; where the ledger cannot be read it throws, and nobody may. */
  entered: () => Promise<readonly Entered[]>
  /** Rollback targets, which the host rehearses aside: no instance is made of them. Throws as `admitted`. */
  rehearsable: () => Promise<readonly Digest[]>
  content: (pair: Admission) => Promise<{ definition: Definition; imageId: string }>
}

export type GuardDependencies = {
  naming: Naming
  engine: GuardEngine
  ledger: GuardLedger
  registryPort: number
  /** Where instances' secrets are on this host. */
  secretsFolder: string
  now: () => Date
  logger: Logger
}

export type Guard = (request: AuthzRequest) => Promise<Verdict>

/** The engine waits as long as the guard does, and whoever asked with it. */
const limitMs = 20_000

/** Decides each request to the engine. Never throws: where it cannot tell, the answer is no. */
export function createGuard(dependencies: GuardDependencies): Guard {
  return async (request) => {
    const asked = readRequest(request)
    if (asked.kind === 'free') return allowed
    if (asked.kind === 'unreadable') {
      return refusal(
        'unreadable',
        `the guard cannot read what is asked: ${asked.what}: ${asked.why}`,
      )
    }
    const tooLate = refusal('cannot-tell', `no answer within ${limitMs / 1000} s`)
    try {
      return await Promise.race([
        judge(dependencies, asked),
        delay(limitMs, tooLate, { ref: false }),
      ])
    } catch (error) {
      dependencies.logger.warn({ err: error }, 'the guard cannot tell')
      const why = error instanceof Error ? error.message : String(error)
      return refusal('cannot-tell', `whether this concerns Kiln's instances: ${why}`)
    }
  }
}

type Judged = Exclude<Asked, { kind: 'free' | 'unreadable' }>

function judge(dependencies: GuardDependencies, asked: Judged): Promise<Verdict> {
  switch (asked.kind) {
    case 'into':
      return judgeInto(dependencies, asked)
    case 'exec':
      return judgeExec(dependencies, asked.id)
    case 'start':
      return judgeStart(dependencies, asked)
    case 'create':
      return judgeCreate(dependencies, asked)
  }
}

/** What `kiln break-glass` opens: an instance, to look; nothing may be put in, taken out or changed even then. */
function mayBeOpenedBy(verb: string, { kind }: Closed): boolean {
  return kind === 'instance' && (verb === 'exec' || verb === 'attach')
}

async function judgeInto(
  { naming, engine, ledger, now }: GuardDependencies,
  { verb, references }: Extract<Asked, { kind: 'into' }>,
): Promise<Verdict> {
  for (const reference of references) {
    if (reference === '') continue
    const seen = await engine.container(reference)
    const closed = closedOf(naming, reference, seen)
    if (closed === null) continue
    const isLetIn =
      mayBeOpenedBy(verb, closed) &&
      (await ledger.entered()).some((one) => one.id === seen?.id && isOpen(one, now()))
    if (!isLetIn) return noEntry(verb, closed)
  }
  return allowed
}

function noEntry(verb: string, closed: Closed): Verdict {
  const name = closed.container
  const way = mayBeOpenedBy(verb, closed) ? `; with a reason: kiln break-glass ${name}` : ''
  const message = `${name} is ${inWords(closed)}, which ${fates[closed.kind]}: no ${verb}${way}`
  return refusal('into-instance', message, closed)
}

const fates = {
  instance: 'is replaced and never changed',
  rehearsal: 'ends by itself and is never entered',
} as const satisfies Record<Closed['kind'], string>

function inWords({ kind, environment }: Closed): string {
  return `${kind === 'instance' ? 'an instance' : 'a rehearsal'} of ${environment ?? 'this host'}`
}

async function judgeExec(dependencies: GuardDependencies, id: string): Promise<Verdict> {
  const container = await dependencies.engine.exec(id)
  if (container === null) return allowed
  return judgeInto(dependencies, { kind: 'into', verb: 'exec', references: [container] })
}

async function judgeCreate(
  dependencies: GuardDependencies,
  { names, body }: Extract<Asked, { kind: 'create' }>,
): Promise<Verdict> {
  const joined = await judgeJoins(dependencies, body.joins)
  if (!joined.allow) return joined
  const pretended = pretendsIn(dependencies.naming, { names, labels: body.labels })
  if (pretended !== null) return judgeInstance(dependencies, pretended, { names, body })
  const image = await dependencies.engine.image(body.image)
  return judgeImage(dependencies, {
    container: names[0] ?? null,
    id: image?.id ?? null,
    references: [body.image, ...(image?.references ?? [])],
  })
}

/** What starts was made before: also what was made before there was a guard, or while a name meant another image. */
async function judgeStart(
  dependencies: GuardDependencies,
  { reference }: Extract<Asked, { kind: 'start' }>,
): Promise<Verdict> {
  const { naming, engine, ledger } = dependencies
  const seen = await engine.container(reference)
  // The engine has nothing to start.
  if (seen === null) return allowed
  const joined = await judgeJoins(dependencies, seen.joins)
  if (!joined.allow) return joined
  const environment = instanceOf(naming, reference, seen)
  if (environment === null) {
    const image = await engine.image(seen.imageId)
    const references = [seen.image, ...(image?.references ?? [])]
    return judgeImage(dependencies, { container: seen.name, id: seen.imageId, references })
  }
  const pair = await admittedAs(dependencies, readLabels(seen.labels))
  const content = pair === null ? null : await ledger.content(pair)
  return content?.imageId === seen.imageId ? allowed : notAdmissible(seen, environment)
}

function notAdmissible({ name }: Pick<Seen, 'name'>, environment: EnvironmentName): Verdict {
  const message = `what ${name} is made of may not start in ${environment} now`
  return refusal('not-admissible', message, { container: name, environment })
}

/** Whose namespaces or volumes are shared is as open as by an exec. */
async function judgeJoins(
  { naming, engine }: GuardDependencies,
  joins: readonly string[],
): Promise<Verdict> {
  for (const reference of joins) {
    const seen = await engine.container(reference)
    const closed = closedOf(naming, reference, seen)
    if (closed === null) continue
    const message = `it would share namespaces or volumes with ${closed.container}, ${inWords(closed)}`
    return refusal('joins-instance', message, closed)
  }
  return allowed
}

/** Kiln's host and a person come by the same socket: an instance is made exactly as the ledger says, whoever asks. */
async function judgeInstance(
  dependencies: GuardDependencies,
  environment: EnvironmentName,
  { names, body }: { names: readonly string[]; body: CreateBody },
): Promise<Verdict> {
  const { naming, ledger, secretsFolder } = dependencies
  const identity = identityOf(naming, { names, labels: body.labels })
  const name = names[0] ?? 'it'
  if (identity === null) {
    const message = `${name} has a name or labels of an instance of ${environment}, and is none`
    return refusal('not-as-defined', message, { container: name, environment })
  }
  const pair = await admittedAs(dependencies, identity.labels)
  if (pair === null) return notAdmissible({ name }, environment)
  const { definition, imageId } = await ledger.content(pair)
  const hasSecrets = Object.keys(definition.secrets ?? {}).length > 0
  const options = containerOptions({
    name: identity.name,
    number: identity.number,
    imageId,
    network: networkName(naming, pair.environment),
    definition,
    secrets: hasSecrets ? join(secretsFolder, identity.name) : null,
    labels: { ...identity.labels, settings: settingsOf(definition) },
  })
  const different = differences(body.whole, options)
  if (different.length === 0) return allowed
  const message = `${name} differs from what its key says of ${environment} in ${different.join(', ')}; after an upgrade of Kiln the guard is restarted too`
  return refusal('not-as-defined', message, { container: name, environment })
}

async function admittedAs(
  { ledger }: GuardDependencies,
  labels: InstanceLabels | null,
): Promise<Admitted | null> {
  if (labels === null) return null
  const { environment, digest, definition, key } = labels
  const found = (await ledger.admitted()).find(
    (one) =>
      one.environment === environment &&
      one.digest === digest &&
      one.definition === definition &&
      one.key === key,
  )
  return found ?? null
}

/** Other people's images are none of the guard's business; Kiln's start only while some environment may. */
async function judgeImage(
  { ledger, registryPort }: GuardDependencies,
  {
    container,
    id,
    references,
  }: { container: string | null; id: string | null; references: readonly string[] },
): Promise<Verdict> {
  const artifacts = id === null ? [] : await ledger.artifactsOf(id)
  const named = ownReferences(references, registryPort).map(({ digest }) => digest)
  const digests: string[] = artifacts.length > 0 ? [...artifacts] : named
  if (digests.length === 0) return allowed
  const admitted = await ledger.admitted()
  if (admitted.some(({ digest }) => digests.includes(digest))) return allowed
  if ((await ledger.rehearsable()).some((digest) => digests.includes(digest))) return allowed
  const what = digests.find((digest) => digest !== '') ?? 'this image of Kiln'
  const message = `${what} may not start in any environment of this host`
  return refusal('not-admissible', message, { container })
}
