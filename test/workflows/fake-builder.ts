import { canonicalJson, digestOfJson } from '../../signing/canonical.ts'
import type { BuildActivities } from '../../src/build/activities.ts'
import type { PipelineStep } from '../../src/domain/definition.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import type { InspectActivities } from '../../src/inspect/activities.ts'
import { mediaTypes } from '../../src/oci/image.ts'
import type { SourceActivities } from '../../src/source/activities.ts'
import type { BlobStore } from '../../src/store/blob-store.ts'
import type { TemplateActivities } from '../../src/template/activities.ts'

/** A name of forty hexadecimal characters, as git would give it. */
export function commitNamed(name: string): string {
  return digestOfJson(['commit', name]).slice('sha256:'.length, 'sha256:'.length + 40)
}

type Builder = SourceActivities & TemplateActivities & BuildActivities & InspectActivities

/** Makes small but whole artifacts: the same commit always gives the same digest. */
export class FakeBuilder {
  /** Environments that a promotion reaches by itself; the first one always. */
  automatic: readonly string[] = ['dev']
  /** Where the branches of the repository stand. */
  heads: Record<string, string> = {}
  /** Commits that are on a branch, but are not its head. */
  reached: string[] = []
  /** What gets into the next image beside its inputs: a build that is not reproducible. */
  noise = ''
  /** What the template's lock names; other things make another lock. */
  locked: readonly string[] = []
  private readonly app: string
  private readonly store: BlobStore

  constructor(app: string, store: BlobStore) {
    this.app = app
    this.store = store
  }

  activities(): Builder {
    return {
      resolveSource: async ({ repository, revision }) => ({
        source: {
          repository,
          commit: revision,
          tree: commitNamed(`tree ${revision}`),
          committedAt: 1_700_000_000,
          subject: `commit ${revision.slice(0, 6)}`,
        },
        app: this.app,
        template: 'node-service',
        context: await this.put({ context: revision }),
        specification: await this.put({ specification: 1 }),
        pipeline: await this.pipeline(),
      }),
      readHeads: async ({ branches }) =>
        Object.entries(this.heads)
          .filter(([branch]) => branches === undefined || branches.includes(branch))
          .map(([branch, commit]) => ({ branch, commit })),
      isOnBranch: async ({ commit }) => this.reached.includes(commit),
      checkTemplate: async ({ name }) => ({
        name,
        lock: digestOfJson(['lock', name, ...this.locked]),
        files: null,
        dependencies: 'npm',
        dockerfile: await this.put({ dockerfile: name }),
        images: { base: digestOfJson('base'), fetch: null },
      }),
      fetchDependencies: async ({ context }) => ({
        dependencies: await this.put({ dependencies: context }),
      }),
      buildImage: async ({ app, context, dependencies }) => ({
        artifact: await this.image({ app, context, dependencies, noise: this.noise }),
        files: await this.put({ files: context, noise: this.noise }),
        base: digestOfJson('base'),
        layer: null,
      }),
      compareArtifacts: async ({ recorded, rebuilt }) => {
        if (recorded.artifact === rebuilt.artifact) return
        throw new KilnError('not_reproducible', 'another digest', { lines: ['app/clock.txt'] })
      },
      makeSbom: async ({ artifact }) => {
        const document = { bomFormat: 'CycloneDX', specVersion: '1.6', artifact }
        return { sbom: await this.put(document), components: 1 }
      },
    }
  }

  private async pipeline(): Promise<PipelineStep[]> {
    return Promise.all(
      ['dev', 'test', 'prod'].map(async (environment) => ({
        environment,
        definition: await this.put({
          definition: environment,
          ...(environment === 'test' ? { secrets: { TOKEN: 'file:token' } } : {}),
        }),
        instances: { min: environment === 'prod' ? 2 : 1, max: 4 },
        automatic: this.automatic.includes(environment),
      })),
    )
  }

  private async image(content: unknown): Promise<Digest> {
    const [config, layer] = [await this.blob({ config: 1 }), await this.blob({ layer: content })]
    return this.put({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, ...config },
      layers: [{ mediaType: mediaTypes.layer, ...layer }],
    })
  }

  private async put(value: unknown): Promise<Digest> {
    return (await this.blob(value)).digest
  }

  private blob(value: unknown): Promise<{ digest: Digest; size: number }> {
    const bytes = canonicalJson(value)
    return this.store.putBlob(
      (async function* once() {
        yield bytes
      })(),
    )
  }
}
