import type { LoggedBundle } from '../../signing/bundle.ts'
import { digestOf, digestOfJson } from '../../signing/canonical.ts'
import { signCheckpoint } from '../../signing/checkpoint.ts'
import { leafHash, rootOf } from '../../signing/merkle.ts'
import type { Signable } from '../../signing/statement.ts'
import { derOf, type TrustRoot } from '../../signing/trust.ts'
import { verifyBundle } from '../../signing/verify.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { environmentOf, foldAll } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Role } from '../../src/domain/role.ts'
import type { ChangeKind, Fact, FactOf } from '../../src/domain/statement.ts'
import { rootFingerprints } from '../../src/ledger/evidence/judge.ts'
import { packEvidence } from '../../src/ledger/evidence/pack.ts'
import { example } from '../signing/examples.ts'
import { hash } from './facts.ts'
import { signedLog } from './signed-log.ts'

const time = '2026-01-01T00:00:00Z'
const policy = Buffer.from('policy')

/** A log with real signatures, and what its store holds. */
export class Story {
  readonly log = signedLog('kiln.local')
  readonly facts: Fact[] = []
  readonly blobs = new Map<Digest, Uint8Array>([[digestOf(policy), policy]])
  readonly root = rootFingerprints(this.log.trust)[0]!

  async say(signable: Signable): Promise<Fact> {
    const bundle = await this.log.add(signable)
    const { fact } = verifyBundle(bundle, this.log.trust, { kind: signable.kind })
    this.facts.push(fact)
    return fact
  }

  /** Logs the list in which a new key follows the role's, or any other. */
  async follow(role: Role): Promise<void> {
    await this.log.rotate(role)
    this.took()
  }

  async list(trust: TrustRoot): Promise<void> {
    await this.log.setTrust(trust)
    this.took()
  }

  private took(): void {
    const bundle = this.log.bundleAt(this.log.size() - 1)
    this.facts.push(verifyBundle(bundle, this.log.trust, { kind: 'roles' }).fact)
  }

  blob(text: string): Digest {
    const bytes = Buffer.from(text)
    this.blobs.set(digestOf(bytes), bytes)
    return digestOf(bytes)
  }

  get ledger() {
    return foldAll(this.facts)
  }

  async seal(name: string): Promise<Digest> {
    const artifact = this.blob(`manifest ${name}`)
    const { leaf: provenance } = await this.say({ ...example('provenance'), artifact })
    const { leaf: sbom } = await this.say({ ...example('sbom'), artifact })
    const pipeline = ['dev', 'prod'].map((environment) => ({
      environment,
      definition: this.blob(`definition ${environment}`),
      instances: { min: 1, max: 2 },
      automatic: false,
    }))
    await this.say({
      kind: 'sealed',
      time,
      artifact,
      body: {
        state: 'sealed',
        build: `build:${hash(name)}`,
        app: 'hello',
        source: {
          repository: '/r',
          commit: hash(name).slice(0, 40),
          tree: hash(name).slice(0, 40),
          committedAt: 1,
          subject: name,
        },
        template: {
          name: 'node-service',
          lock: this.blob('lock'),
          base: { name: 'debian', lock: this.blob('base lock') },
        },
        provenance,
        sbom,
        files: this.blob(`files ${name}`),
        specification: this.blob(`kiln.yaml ${name}`),
        pipeline,
      },
    })
    return artifact
  }

  async promote(
    environment: EnvironmentName,
    digest: Digest,
    changeKind: ChangeKind = 'promotion',
  ): Promise<FactOf<'key'>> {
    const state = environmentOf(this.ledger, environment)
    const definition = this.blob(`definition ${environment.split('/')[1]}`)
    const epoch = state.epoch + 1
    const common = { environment, epoch }
    const plan = digestOfJson('plan')
    const served = state.active?.body
    const rollbackTo =
      served === undefined ? null : { sequence: served.sequence, digest: served.digest }
    await this.say({
      kind: 'change',
      time,
      body: {
        ...common,
        tip: state.tip,
        change: `change.${epoch}`,
        changeKind,
        target: { digest, definition },
        instances: 1,
        from: null,
        rollbackTo,
        reason: 'test',
        requestedBy: 'ann',
        plan,
      },
    })
    const sealed = this.ledger.sealed.get(digest)!.body
    const key = await this.say({
      ...example('key'),
      time,
      policy: { name: 'promotion', digest: digestOf(policy) },
      body: {
        ...common,
        sequence: state.sequence + 1,
        previous: state.lastKey,
        rollbackTo,
        digest,
        definition,
        template: sealed.template.lock,
        commit: sealed.source.commit,
        requestedBy: 'ann',
        approvedBy: [],
        plan,
      },
    })
    await this.say({
      kind: 'activation',
      time,
      artifact: digest,
      body: {
        ...common,
        change: `change.${epoch}`,
        outcome: 'active',
        key: key.leaf,
        serving: null,
        instances: [],
        failure: null,
      },
    })
    return key as FactOf<'key'>
  }

  async evidence(key: FactOf<'key'>): Promise<Uint8Array> {
    const { log, blobs } = this
    const all = Array.from({ length: log.size() }, (_, n) => log.bundleAt(n))
    const entries = all.map(leafOf)
    const checkpoint = signCheckpoint(
      { origin: log.trust.origin, size: entries.length, root: rootOf(entries.map(leafHash)) },
      log.keys.log,
    )
    const source = {
      trust: log.trust,
      facts: this.facts,
      ledger: this.ledger,
      checkpoint,
      entries,
      bundleOf: async (leaf: string) =>
        log.bundleAt(this.facts.find((fact) => fact.leaf === leaf)!.index),
      blob: async (digest: Digest) => blobs.get(digest),
      policies: [{ digest: digestOf(policy), bytes: policy }],
    }
    return (await packEvidence(source, key, new Date(time))).bytes
  }
}

function leafOf(bundle: LoggedBundle): Uint8Array {
  return derOf(bundle.verificationMaterial.tlogEntries[0].canonicalizedBody)
}
