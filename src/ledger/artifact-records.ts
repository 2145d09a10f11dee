import type { PipelineStep } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import { errors, isErrorCode } from '../domain/error.ts'
import type { Leaf, Source } from '../domain/statement.ts'
import type { CheckedTemplate } from '../domain/template.ts'
import { digestOf } from '../../signing/canonical.ts'
import { bundleOf, timeOf, type PublishedBundle, type RecordDependencies } from './record.ts'

/** A build's outcome before it is signed: digests of what lies in the store. */
export type Made = {
  build: string
  found: {
    app: string
    source: Source
    specification: Digest
    pipeline: readonly PipelineStep[]
  }
  template: CheckedTemplate
  artifact: Digest
  files: Digest
  dependencies: Digest | null
  /** Blob: the CycloneDX document. */
  sbom: Digest
}

export type Signed = { provenanceLeaf: Leaf; sbomLeaf: Leaf; bundles: PublishedBundle[] }

/** Signs and logs provenance and SBOM. */
export async function signArtifact(dependencies: RecordDependencies, made: Made): Promise<Signed> {
  const { artifact, build, found, template } = made
  const document = JSON.parse(
    new TextDecoder().decode(await dependencies.blob(made.sbom)),
  ) as Record<string, unknown>
  const sbom = await dependencies.decide({
    id: `sbom ${build} ${artifact}`,
    signable: { kind: 'sbom', time: timeOf(dependencies), artifact, app: found.app, document },
  })
  const provenance = await dependencies.decide({
    id: `provenance ${build} ${artifact}`,
    signable: {
      kind: 'provenance',
      time: timeOf(dependencies),
      artifact,
      provenance: {
        build,
        app: found.app,
        source: { repository: found.source.repository, commit: found.source.commit },
        template: { name: template.name, lock: template.lock },
        parameters: found.source.path === undefined ? {} : { path: found.source.path },
        internalParameters: { kiln: dependencies.version },
        base: template.images.base,
        dependencies: made.dependencies,
        files: made.files,
        sbom: made.sbom,
        startedOn: null,
      },
    },
  })
  return {
    provenanceLeaf: provenance.leaf,
    sbomLeaf: sbom.leaf,
    bundles: [await bundleOf(dependencies, provenance), await bundleOf(dependencies, sbom)],
  }
}

/** The read-back: an artifact counts as sealed only after its signatures were read from the store and verified. */
export async function sealArtifact(
  dependencies: RecordDependencies,
  made: Made & Signed,
): Promise<{ leaf: Leaf }> {
  const { artifact, found, template } = made
  await dependencies.verify(made.provenanceLeaf, { kind: 'provenance', artifact })
  await dependencies.verify(made.sbomLeaf, { kind: 'sbom', artifact })
  const { leaf } = await dependencies.decide({
    id: `sealed ${made.build} ${artifact}`,
    signable: {
      kind: 'sealed',
      time: timeOf(dependencies),
      artifact,
      body: {
        state: 'sealed',
        build: made.build,
        app: found.app,
        source: found.source,
        template: {
          name: template.name,
          lock: template.lock,
          ...(template.base === undefined ? {} : { base: template.base }),
        },
        provenance: made.provenanceLeaf,
        sbom: made.sbomLeaf,
        files: made.files,
        specification: found.specification,
        pipeline: found.pipeline,
      },
    },
  })
  return { leaf }
}

/** Only a fault of the artifact's own is on record; an outage of the platform condemns nothing. */
export async function recordRejected(
  dependencies: RecordDependencies,
  input: {
    build: string
    found: { app: string; source: Source }
    code: string
    message: string
  },
) {
  if (!isErrorCode(input.code) || errors[input.code].retryable || errors[input.code].http >= 500)
    return
  const { build, found, code, message } = input
  await dependencies.decide({
    id: `rejected ${build} ${digestOf(new TextEncoder().encode(`${code} ${message}`))}`,
    signable: {
      kind: 'rejected',
      time: timeOf(dependencies),
      body: {
        state: 'rejected',
        build,
        app: found.app,
        source: found.source,
        code,
        message: message.slice(0, 500),
      },
    },
  })
}
