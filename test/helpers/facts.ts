import { createHash } from 'node:crypto'
import { digestOfHex, type Digest } from '../../src/domain/digest.ts'
import { environmentOf, fold, emptyLedger, type Ledger } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Route } from '../../src/domain/definition.ts'
import type {
  ActivationBody,
  ChangeBody,
  ChangeKind,
  Fact,
  KeyBody,
} from '../../src/domain/statement.ts'

export function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

export function digestFor(text: string): Digest {
  return digestOfHex(hash(text))
}

/** A `Fact` without what the log adds. */
export type Said = Fact extends infer F
  ? F extends Fact
    ? Omit<F, 'leaf' | 'index' | 'time'>
    : never
  : never

/** A log in memory: facts get their leaf and index, and are folded as they come. */
export class FactLog {
  ledger: Ledger = emptyLedger()
  readonly facts: Fact[] = []
  /** When what is added next is said. */
  time = '2026-01-01T00:00:00Z'

  add(said: Said, time = this.time): Fact {
    const index = this.facts.length
    const fact = {
      ...said,
      index,
      leaf: hash(`${index} ${JSON.stringify(said)}`),
      time,
    }
    this.facts.push(fact)
    this.ledger = fold(this.ledger, fact)
    return fact
  }

  seal(
    name: string,
    app = 'hello',
    environments: readonly (string | { name: string; route: Route })[] = ['dev', 'test', 'prod'],
  ): Digest {
    const artifact = digestFor(name)
    this.add({
      kind: 'sealed',
      artifact,
      body: {
        state: 'sealed',
        build: `build:${hash(name)}`,
        app,
        source: {
          repository: '/r',
          commit: hash(name).slice(0, 40),
          tree: hash(name).slice(0, 40),
          committedAt: 1,
          subject: name,
        },
        template: { name: 'node-service', lock: digestFor('lock') },
        provenance: hash(`p${name}`),
        sbom: hash(`s${name}`),
        files: digestFor(`f${name}`),
        specification: digestFor(`k${name}`),
        pipeline: environments
          .map((one) => (typeof one === 'string' ? { name: one } : one))
          .map(({ name: environment, ...route }, at) => ({
            environment,
            definition: digestFor(`definition ${environment}`),
            instances: { min: 1, max: 4 },
            automatic: at === 0,
            ...route,
          })),
      },
    })
    return artifact
  }

  /** The next change of an environment, as its own chain allows; `part` breaks it on purpose. */
  change(environment: EnvironmentName, digest: Digest, part: Partial<ChangeBody> = {}): Fact {
    const state = environmentOf(this.ledger, environment)
    const own = environment.split('/')[1] ?? ''
    return this.add({
      kind: 'change',
      artifact: digest,
      body: {
        environment,
        epoch: state.epoch + 1,
        tip: state.tip,
        change: `change.${environment.replace('/', '.')}.${state.epoch + 1}`,
        changeKind: 'promotion',
        target: { digest, definition: digestFor(`definition ${own}`) },
        instances: 2,
        from: null,
        rollbackTo: null,
        reason: 'test',
        requestedBy: 'tester',
        plan: digestFor('plan'),
        ...part,
      },
    })
  }

  key(environment: EnvironmentName, digest: Digest, part: Partial<KeyBody> = {}): Fact {
    const state = environmentOf(this.ledger, environment)
    const own = environment.split('/')[1] ?? ''
    const active = state.active?.body
    return this.add({
      kind: 'key',
      artifact: digest,
      body: {
        environment,
        sequence: state.sequence + 1,
        epoch: state.epoch,
        previous: state.lastKey,
        rollbackTo:
          active === undefined ? null : { sequence: active.sequence, digest: active.digest },
        digest,
        definition: digestFor(`definition ${own}`),
        template: digestFor('lock'),
        commit: hash('commit').slice(0, 40),
        requestedBy: 'tester',
        approvedBy: [],
        plan: digestFor('plan'),
        ...part,
      },
    })
  }

  outcome(
    environment: EnvironmentName,
    outcome: 'active' | 'failed',
    part: Partial<ActivationBody> = {},
  ): Fact {
    const state = environmentOf(this.ledger, environment)
    return this.add({
      kind: 'activation',
      artifact: state.open?.artifact ?? null,
      body: {
        environment,
        epoch: state.epoch,
        change: state.open?.body.change ?? 'none',
        outcome,
        key: state.pending?.leaf ?? null,
        serving: null,
        instances: [],
        failure: null,
        ...part,
      },
    })
  }

  /** A whole change that ends well. */
  promote(
    environment: EnvironmentName,
    digest: Digest,
    changeKind: ChangeKind = 'promotion',
  ): void {
    this.change(environment, digest, { changeKind })
    if (changeKind === 'promotion' || changeKind === 'rollback') this.key(environment, digest)
    this.outcome(environment, 'active')
  }
}
