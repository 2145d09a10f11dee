import type { Digest } from '../../src/domain/digest.ts'
import { blobKey, type AgingStore } from '../../src/store/blob-store.ts'
import { digestFor, FactLog, hash, type Said } from '../helpers/facts.ts'

/** A day; ages in these tests are counted in them. */
export const day = 86_400_000
export const now = Date.parse('2026-06-01T00:00:00Z')

export type Artifact = { name: string; app: string; layers: readonly string[]; lock: string }

/**
 * A ledger beside a store that holds what it speaks of. Names stand for content: the blob called `x` lies
 * under the digest of `x`.
 */
export class World {
  readonly log = new FactLog()
  readonly store: AgingStore

  constructor(store: AgingStore) {
    this.store = store
  }

  blob(name: string, content: unknown = name): Promise<void> {
    return this.store.put(blobKey(digestFor(name)), Buffer.from(JSON.stringify(content)))
  }

  async manifest(repository: string, name: string, manifest: object): Promise<void> {
    await this.blob(name, manifest)
    const marker = `repositories/${repository}/${hash(name)}`
    await this.store.put(marker, Buffer.from(`${digestFor(name)}\n`))
  }

  /** A template's lock, its image and the packages in that. */
  async template(lock: string): Promise<void> {
    const [base, packages] = [`base ${lock}`, [`package 1 of ${lock}`, `package 2 of ${lock}`]]
    const layer = `layer of ${base}`
    await this.blob(base, { config: digestFor(`config of ${base}`), layers: [digestFor(layer)] })
    for (const name of [`config of ${base}`, layer, lock, ...packages]) await this.blob(name)
    const images = { base: digestFor(base), fetch: null }
    const inputs = Object.fromEntries(packages.map((name) => [name, `1, ${digestFor(name)}`]))
    await this.store.put(
      `templates/images/${hash(base)}`,
      Buffer.from(JSON.stringify({ version: 1, images, inputs })),
    )
    await this.store.put(`templates/checked/${hash(lock)}`, Buffer.from(JSON.stringify({ images })))
  }

  /** An artifact as a build leaves it, without the record that it was sealed. */
  async build({ name, app, layers }: Artifact): Promise<Digest> {
    for (const layer of layers) await this.blob(layer)
    for (const beside of [`config of ${name}`, `f${name}`, `k${name}`]) await this.blob(beside)
    for (const environment of ['dev', 'test', 'prod']) await this.blob(`definition ${environment}`)
    await this.manifest(app, name, {
      config: { digest: digestFor(`config of ${name}`) },
      layers: layers.map((layer) => ({ digest: digestFor(layer) })),
    })
    await this.refer({ name, app }, 'sbom')
    return digestFor(name)
  }

  /** Attaches something to an artifact. */
  async refer({ name, app }: Pick<Artifact, 'name' | 'app'>, what: string): Promise<void> {
    const referrer = `${what} of ${name}`
    await this.blob('{}')
    await this.blob(`content of ${referrer}`)
    await this.manifest(app, referrer, {
      config: { digest: digestFor('{}') },
      layers: [{ digest: digestFor(`content of ${referrer}`) }],
      subject: { digest: digestFor(name) },
    })
    const key = `referrers/${hash(name)}/${hash(referrer)}`
    await this.store.put(key, Buffer.from(`${digestFor(referrer)}\n`))
  }

  async seal(artifact: Artifact): Promise<Digest> {
    const digest = await this.build(artifact)
    const scratch = new FactLog()
    scratch.seal(artifact.name, artifact.app)
    const [said] = scratch.facts as Extract<Said, { kind: 'sealed' }>[]
    if (said === undefined) throw new Error('nothing was sealed')
    const template = { name: 'node-service', lock: digestFor(artifact.lock) }
    this.log.add({
      kind: 'sealed',
      artifact: digest,
      body: { ...said.body, template },
    })
    return digest
  }
}

/** What a store holds below the places that a collection looks at, and what it noted. */
export async function keysIn(store: AgingStore): Promise<Set<string>> {
  const keys = new Set<string>()
  for (const prefix of ['repositories/', 'referrers/', 'cache/', 'blobs/', 'collected/', 'gc/']) {
    for await (const key of store.list(prefix)) keys.add(key)
  }
  return keys
}
