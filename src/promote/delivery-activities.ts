import { authorize, type Verb } from '../domain/authorize.ts'
import type { PipelineStep } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Ledger } from '../domain/ledger.ts'
import type { Principal, Source } from '../domain/statement.ts'
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

type Dependencies = {
  ledger: () => Promise<Ledger>
  digestOfJson: (value: unknown) => Digest
  /** Keeps checked templates by their lock, so that an artifact can be rebuilt after its template was locked anew. */
  templates: {
    put: (template: CheckedTemplate) => Promise<void>
    get: (lock: Digest) => Promise<CheckedTemplate | undefined>
  }
  /** Starts a workflow, or joins it when it runs already, and waits for its end. */
  engine: {
    build: (request: BuildRequest) => Promise<Digest>
    deliver: (request: { repository: string; commit: string }) => Promise<void>
  }
}

export type DeliveryActivities = ReturnType<typeof deliveryActivities>

export function deliveryActivities({ ledger, digestOfJson, templates, engine }: Dependencies) {
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

    /** The build's id: the hash of what goes into it. `artifact` is set when it was sealed before. */
    async identifyBuild({ found, template }: { found: Found; template: CheckedTemplate }) {
      const hash = digestOfJson({
        version: 1,
        app: found.app,
        commit: found.source.commit,
        tree: found.source.tree,
        lock: template.lock,
      })
      const id = `build:${hash.slice('sha256:'.length)}`
      await templates.put(template)
      const known = [...(await ledger()).sealed.values()].find((sealed) => sealed.body.build === id)
      return { id, artifact: known?.artifact ?? null }
    },

    async runBuild(request: BuildRequest): Promise<Digest> {
      return engine.build(request)
    },

    async runDelivery(request: { repository: string; commit: string }): Promise<void> {
      return engine.deliver(request)
    },

    /** What a sealed artifact was made from. */
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
      return { app, build, source, files, template: checked }
    },
  }
}
