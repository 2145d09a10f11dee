import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJson } from '../../signing/canonical.ts'
import type { PipelineStep } from '../../src/domain/definition.ts'
import type { Digest } from '../../src/domain/digest.ts'
import type { CheckedTemplate } from '../../src/domain/template.ts'
import { parseSpecification } from '../../src/source/specification.ts'
import { hex, type Rooms } from './rooms.ts'

const example = join(import.meta.dirname, '../../examples/hello/kiln.yaml')

/** An artifact of the example; its image and its files are a few bytes. */
async function made({ blob }: Rooms, name: string) {
  const text = (value: string) => blob(Buffer.from(value))
  const specification = parseSpecification(await readFile(example))
  const pipeline: PipelineStep[] = []
  for (const { definition, instances, automatic } of specification.environments) {
    const { environment } = definition
    const digest = await blob(canonicalJson(definition))
    pipeline.push({ environment, definition: digest, instances, automatic })
  }
  const config = await text(`{"config":"${name}"}`)
  const layers = [{ digest: await text(`layer ${name}`) }]
  const manifest = canonicalJson({ schemaVersion: 2, config: { digest: config }, layers })
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    metadata: { timestamp: '2026-01-01T00:00:00Z', component: { name: 'hello' } },
    components: [{ name: 'left', version: '1.0.0' }],
  }
  const lock = await text('lock')
  const template: CheckedTemplate = {
    name: 'node-service',
    lock,
    dockerfile: await text('FROM base'),
    files: null,
    images: { base: await text('base'), fetch: null },
    dependencies: 'npm',
  }
  return {
    build: `build:${hex(name)}`,
    found: {
      app: 'hello',
      source: sourceOf(name),
      specification: await blob(canonicalJson(specification)),
      pipeline,
    },
    template,
    artifact: await blob(manifest),
    files: await text(`files ${name}`),
    dependencies: null,
    sbom: await blob(canonicalJson(document)),
  }
}

function sourceOf(name: string) {
  return {
    repository: 'https://git.example.test/hello',
    commit: hex(`commit ${name}`).slice(0, 40),
    tree: hex(`tree ${name}`).slice(0, 40),
    committedAt: 1_767_225_600,
    subject: name,
  }
}

export async function seal(rooms: Rooms, name: string): Promise<Digest> {
  const artifact = await made(rooms, name)
  const signed = await rooms.records.signArtifact(artifact)
  await rooms.records.sealArtifact({ ...artifact, ...signed })
  return artifact.artifact
}

export async function reject({ records }: Rooms): Promise<void> {
  await records.recordRejected({
    build: `build:${hex('broken')}`,
    found: { app: 'hello', source: sourceOf('broken') },
    code: 'build_failed',
    message: 'npm run build ended with 1',
  })
}
