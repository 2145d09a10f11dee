import { authorize, type Verb } from '../domain/authorize.ts'
import type { PipelineStep } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Ledger } from '../domain/ledger.ts'
import type { Operation } from '../domain/operation.ts'
import type { FactOf, Principal, Source } from '../domain/statement.ts'
import type { CheckedTemplate } from '../domain/template.ts'

/** What a commit says, as the source room found it. */
type Found = {
  source: Source
  app: string
  template: string
  context: Digest
  specification: Digest
  pipeline: readonly PipelineStep[]
}

type BuildRequest = {
  id: string
  found: Found
  template: CheckedTemplate
  useCache: boolean
  requestedBy: string
}

/** `part`: one app of a commit that holds several; its operation's id follows from the whole's. */
type CommitDelivery = {
  repository: string
  commit: string
  part?: { id: string; path: string; useCache: boolean; principal: Principal }
}

/** A logged statement's bundle, as the registry publishes it. */
type BundleAt = { key: string; predicateType: string; created: string }

type Dependencies = {
  ledger: () => Promise<Ledger>
  digestOfJson: (value: unknown) => Digest
  /** Keeps checked templates by their lock, so that an artifact can be rebuilt after its template was locked anew. */
  templates: {
    put: (template: CheckedTemplate) => Promise<void>
    get: (lock: Digest) => Promise<CheckedTemplate | undefined>
  }
  /** Whether an artifact that was sealed is not in the registry any more. */
  isGone: (artifact: { app: string; digest: Digest }) => Promise<boolean>
  /** The bundles of all that was said of an artifact, for the registry. */
  bundlesOf: (artifact: Digest) => Promise<readonly BundleAt[]>
  /** Starts a workflow, or joins it when it runs already, and waits for its end. */
  engine: {
    build: (request: BuildRequest) => Promise<Digest>
    deliver: (request: CommitDelivery) => Promise<Operation | null>
  }
}

/**
 * The app's newest artifact, when what makes it is what this commit holds. An older one does not count:
 * a commit that takes a change back is a change, and goes its way through the environments.
 */
function unchanged(
  sealed: readonly FactOf<'sealed'>[],
  { found, template }: { found: Found; template: CheckedTemplate },
): FactOf<'sealed'> | undefined {
  const newest = sealed.findLast(({ body }) => body.app === found.app)
  const { content, path } = found.source
  if (newest === undefined || content === undefined) return undefined
  const { source, template: made } = newest.body
  const same = source.content === content && source.path === path && made.lock === template.lock
  return same ? newest : undefined
}

/** What would be denied once it is made is not made. */
function refuseDenied({ deniedTemplates }: Ledger, { name, lock, base }: CheckedTemplate): void {
  for (const one of [{ name, lock }, ...(base === undefined ? [] : [base])]) {
    const denial = deniedTemplates.get(one.lock)
    if (denial === undefined) continue
    const { reason, requestedBy } = denial.body
    throw new KilnError(
      'refused',
      `${one.name} at lock ${one.lock} was denied by ${requestedBy}: ${reason}`,
      { place: 'denied', fix: `kiln template lock ${one.name}, commit and build` },
    )
  }
}

export type DeliveryActivities = ReturnType<typeof deliveryActivities>

export function deliveryActivities(dependencies: Dependencies) {
  const { ledger, digestOfJson, templates, engine } = dependencies
  return {
    async authorizeWork(input: {
      principal: Principal
      verb: Verb
      resource: string
    }): Promise<void> {
      const verdict = authorize(input.principal, input.verb, input.resource)
      if (!verdict.allowed)
        throw new KilnError('forbidden', verdict.message, { place: verdict.rule })
    },

    /**
     * The build's id: the hash of what goes into it. `artifact` is set when it was sealed before, and when
     * the app is one of several in its repository and its newest artifact was made of the same files: then
     * the id is that one's.
     */
    async identifyBuild({ found, template }: { found: Found; template: CheckedTemplate }) {
      const known = await ledger()
      refuseDenied(known, template)
      const { path } = found.source
      const hash = digestOfJson({
        version: 1,
        app: found.app,
        commit: found.source.commit,
        tree: found.source.tree,
        lock: template.lock,
        ...(path === undefined ? {} : { path }),
      })
      const id = `build:${hash.slice('sha256:'.length)}`
      await templates.put(template)
      const sealed = [...known.sealed.values()]
      const before =
        sealed.find(({ body }) => body.build === id) ?? unchanged(sealed, { found, template })
      const digest = before?.artifact ?? null
      if (before === undefined || digest === null) return { id, artifact: null }
      // What was collected is built again.
      if (await dependencies.isGone({ app: found.app, digest })) return { id, artifact: null }
      return { id: before.body.build, artifact: digest }
    },

    async runBuild(request: BuildRequest): Promise<Digest> {
      return engine.build(request)
    },

    /** The delivery as it ended, good or bad. */
    async runDelivery(request: CommitDelivery): Promise<Operation | null> {
      return engine.deliver(request)
    },

    /** What a sealed artifact was made from; `bundles` are set when it must be published again. */
    async readBuildRecord({ digest }: { digest: Digest }) {
      const sealed = (await ledger()).sealed.get(digest)
      if (sealed === undefined)
        throw new KilnError('not_found', `${digest} is not a sealed artifact`)
      const { app, build, source, files, template } = sealed.body
      const checked = await templates.get(template.lock)
      if (checked === undefined) {
        throw new KilnError(
          'input_unavailable',
          `the store does not hold template ${template.name} at lock ${template.lock}`,
        )
      }
      const gone = await dependencies.isGone({ app, digest })
      const bundles = gone ? await dependencies.bundlesOf(digest) : null
      return { app, build, source, files, template: checked, bundles }
    },
  }
}
