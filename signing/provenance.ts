import { z } from 'zod'
import { digestOfHex, hexOf, type Digest } from '../src/domain/digest.ts'
import { buildId, commit, hex, label, time } from './body-schemas.ts'
import { checkPart, wrongStatement, type SignableOf, type Statement } from './statement.ts'

/** SLSA provenance v1. https://slsa.dev/spec/v1.2/build-provenance */

const resource = z.object({
  name: z.string(),
  digest: z.object({ sha256: hex.optional(), gitCommit: commit.optional() }),
})

const predicate = z.object({
  buildDefinition: z.object({
    externalParameters: z.object({
      repository: z.string().min(1).max(4096),
      commit,
      app: label,
      template: label,
      parameters: z.record(z.string(), z.string()),
    }),
    internalParameters: z.record(z.string(), z.string()),
    resolvedDependencies: z.array(resource).max(10),
  }),
  runDetails: z.object({
    metadata: z.object({ invocationId: buildId, startedOn: time.optional(), finishedOn: time }),
    byproducts: z.array(resource).max(10),
  }),
})

function blob(name: string, digest: Digest): object {
  return { name, digest: { sha256: hexOf(digest) } }
}

/** The in-toto form of a git address; a plain path is a file address. */
function gitUri(repository: string, commitId: string): string {
  return `git+${repository.includes('://') ? repository : `file://${repository}`}@${commitId}`
}

export function provenancePredicate(signable: SignableOf<'provenance'>, origin: string): object {
  const { provenance } = signable
  const { source, template, dependencies, startedOn } = provenance
  return {
    buildDefinition: {
      buildType: `https://${origin}/build/v1`,
      externalParameters: {
        repository: source.repository,
        commit: source.commit,
        app: provenance.app,
        template: template.name,
        parameters: provenance.parameters,
      },
      internalParameters: provenance.internalParameters,
      resolvedDependencies: [
        {
          name: 'source',
          uri: gitUri(source.repository, source.commit),
          digest: { gitCommit: source.commit },
        },
        blob('template', template.lock),
        blob('base', provenance.base),
        ...(dependencies === null ? [] : [blob('dependencies', dependencies)]),
      ],
    },
    runDetails: {
      builder: { id: `https://${origin}/builder/v1` },
      metadata: {
        invocationId: provenance.build,
        ...(startedOn === null ? {} : { startedOn }),
        finishedOn: signable.time,
      },
      byproducts: [blob('files', provenance.files), blob('sbom', provenance.sbom)],
    },
  }
}

type Resources = readonly z.infer<typeof resource>[]

function named(list: Resources, name: string): Digest | null {
  const found = list.find((one) => one.name === name)?.digest.sha256
  return found === undefined ? null : digestOfHex(found)
}

function needed(list: Resources, name: string): Digest {
  const found = named(list, name)
  if (found === null) throw wrongStatement(`no ${name}`, `predicate.${name}`)
  return found
}

export function readProvenance(statement: Statement): SignableOf<'provenance'> {
  const { buildDefinition, runDetails } = checkPart(predicate, statement.predicate, 'predicate')
  const external = buildDefinition.externalParameters
  const inputs = buildDefinition.resolvedDependencies
  return {
    kind: 'provenance',
    time: runDetails.metadata.finishedOn,
    artifact: digestOfHex(statement.subject[0].digest.sha256),
    provenance: {
      build: runDetails.metadata.invocationId,
      app: external.app,
      source: { repository: external.repository, commit: external.commit },
      template: { name: external.template, lock: needed(inputs, 'template') },
      parameters: external.parameters,
      internalParameters: buildDefinition.internalParameters,
      base: needed(inputs, 'base'),
      dependencies: named(inputs, 'dependencies'),
      files: needed(runDetails.byproducts, 'files'),
      sbom: needed(runDetails.byproducts, 'sbom'),
      startedOn: runDetails.metadata.startedOn ?? null,
    },
  }
}
