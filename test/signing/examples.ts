import * as fc from 'fast-check'
import { digestOfHex, type Digest } from '../../src/domain/digest.ts'
import { environmentName } from '../../src/domain/name.ts'
import type { FactKind } from '../../src/domain/statement.ts'
import type { Signable, SignableOf } from '../../signing/statement.ts'
import { signedLog } from '../helpers/signed-log.ts'

/** Arbitrary statements of every kind. */

const hex = fc.stringMatching(/^[0-9a-f]{64}$/)
const digest: fc.Arbitrary<Digest> = hex.map(digestOfHex)
const commit = fc.stringMatching(/^[0-9a-f]{40}$/)
const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$/)
const environment = fc.tuple(label, label).map(([app, own]) => environmentName(app, own))
const count = fc.nat(1000)
const sequence = fc.integer({ min: 1, max: 1000 })
const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const name = fc.string({ minLength: 1, maxLength: 20 })
const build = hex.map((one) => `build:${one}`)
const orNull = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: null })
const time = fc
  .date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true })
  .map((date) => date.toISOString())

const source = fc.record({
  repository: name,
  commit,
  tree: commit,
  committedAt: count,
  subject: text,
})
const template = fc.record({ name: label, lock: digest })
const served = orNull(fc.record({ digest, definition: digest, sequence }))
const rollbackTo = orNull(fc.record({ sequence, digest }))
const strings = fc.dictionary(label, text, { maxKeys: 3 })
const target = fc.record({ digest, definition: digest })

const trust = fc.constantFrom(signedLog().trust, signedLog('other.example').trust)

export const signables: { readonly [K in FactKind]: fc.Arbitrary<SignableOf<K>> } = {
  roles: fc.record({ kind: fc.constant('roles'), time, trust }),
  provenance: fc.record({
    kind: fc.constant('provenance'),
    time,
    artifact: digest,
    provenance: fc.record({
      build,
      app: label,
      source: fc.record({
        repository: fc.oneof(name, fc.constant('https://git.example/hello')),
        commit,
      }),
      template,
      parameters: strings,
      internalParameters: strings,
      base: digest,
      dependencies: orNull(digest),
      files: digest,
      sbom: digest,
      startedOn: orNull(time),
    }),
  }),
  sbom: fc
    .record({
      time,
      artifact: digest,
      app: label,
      components: fc.array(fc.record({ name, version: text }), { maxLength: 3 }),
    })
    .map(({ components, ...rest }) => ({
      kind: 'sbom',
      ...rest,
      document: {
        bomFormat: 'CycloneDX',
        specVersion: '1.6',
        metadata: { timestamp: rest.time, component: { name: rest.app } },
        components,
      },
    })),
  sealed: fc.record({
    kind: fc.constant('sealed'),
    time,
    artifact: digest,
    body: fc.record({
      state: fc.constant('sealed'),
      build,
      app: label,
      source,
      template,
      provenance: hex,
      sbom: hex,
      files: digest,
      specification: digest,
      pipeline: fc.array(
        fc.record({
          environment: label,
          definition: digest,
          instances: fc.record({ min: count, max: count }),
          automatic: fc.boolean(),
        }),
        { maxLength: 3 },
      ),
    }),
  }),
  rejected: fc.record({
    kind: fc.constant('rejected'),
    time,
    body: fc.record({
      state: fc.constant('rejected'),
      build,
      app: label,
      source,
      code: fc.constantFrom('build_failed', 'lock_mismatch'),
      message: text,
    }),
  }),
  change: fc.record({
    kind: fc.constant('change'),
    time,
    body: fc.record({
      environment,
      epoch: sequence,
      tip: orNull(hex),
      change: name,
      changeKind: fc.constantFrom(
        'promotion',
        'rollback',
        'scale',
        'replacement',
        'rotation',
        'return',
        'stop',
      ),
      target,
      instances: count,
      from: served,
      rollbackTo,
      reason: text,
      requestedBy: name,
      plan: digest,
    }),
  }),
  key: fc.record({
    kind: fc.constant('key'),
    time,
    version: fc.constant('0.1.0'),
    policy: fc.record({ name: label, digest }),
    inputs: fc.array(fc.record({ uri: name, digest }), { maxLength: 3 }),
    body: fc.record({
      environment,
      sequence,
      epoch: sequence,
      previous: orNull(hex),
      rollbackTo,
      digest,
      definition: digest,
      template: digest,
      commit,
      requestedBy: name,
      approvedBy: fc.array(name, { maxLength: 2 }),
      plan: digest,
    }),
  }),
  activation: fc.record({
    kind: fc.constant('activation'),
    time,
    artifact: orNull(digest),
    body: fc.record({
      environment,
      epoch: sequence,
      change: name,
      outcome: fc.constantFrom('active', 'failed'),
      key: orNull(hex),
      serving: served,
      instances: fc.array(fc.record({ name, id: hex }), { maxLength: 2 }),
      failure: orNull(fc.record({ code: name, message: text })),
    }),
  }),
  drift: fc.record({
    kind: fc.constant('drift'),
    time,
    artifact: orNull(digest),
    body: fc.record({
      environment,
      epoch: count,
      instance: name,
      cause: fc.constantFrom('stopped', 'removed', 'restarted', 'foreign', 'paused', 'unknown'),
      found: text,
      expected: text,
    }),
  }),
  release: fc.record({
    kind: fc.constant('release'),
    time,
    artifact: orNull(digest),
    body: fc.record({ environment, change: name, reason: text, requestedBy: name }),
  }),
  refusal: fc.record({
    kind: fc.constant('refusal'),
    time,
    artifact: orNull(digest),
    body: fc.record({
      environment: orNull(environment),
      change: name,
      rule: name,
      message: text,
      requestedBy: name,
    }),
  }),
  'break-glass': fc.record({
    kind: fc.constant('break-glass'),
    time,
    artifact: orNull(digest),
    body: fc.record({
      environment,
      instance: name,
      id: hex,
      until: time,
      reason: text,
      requestedBy: name,
    }),
  }),
  denial: fc.record({
    kind: fc.constant('denial'),
    time,
    version: fc.constant('0.1.0'),
    artifact: digest,
    app: label,
    body: fc.record({ reason: text, requestedBy: name }),
  }),
}

export const anySignable: fc.Arbitrary<Signable> = fc.oneof(...Object.values(signables))

/** One fixed statement of a kind; another seed gives another. */
export function example<K extends FactKind>(kind: K, seed = 1): SignableOf<K> {
  return fc.sample(signables[kind], { seed, numRuns: 1 })[0]!
}
