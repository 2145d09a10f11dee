import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { roleOf, roles } from '../../src/domain/role.ts'
import type { FactKind } from '../../src/domain/statement.ts'
import { canonicalJson } from '../../signing/canonical.ts'
import {
  buildStatement,
  decodeFact,
  factOf,
  parseStatement,
  statementBytes,
} from '../../signing/statements.ts'
import { anySignable, example, signables } from './examples.ts'

const origin = 'kiln.local'
const refused = expect.objectContaining({ code: 'verification_failed' })
const kinds = Object.keys(roleOf) as FactKind[]
const place = { leaf: 'ab'.repeat(32), index: 7 }

test.each(kinds)('a %s statement is read back as what was said', (kind) => {
  fc.assert(
    fc.property(signables[kind], (signable) => {
      const payload = statementBytes(signable, origin)
      expect(parseStatement(payload, origin)).toEqual(signable)
      const fact = decodeFact({ payload, role: roleOf[kind], ...place, origin })
      expect(fact).toEqual(factOf(signable, place))
      expect(fact).toMatchObject({ kind, ...place, time: signable.time })
    }),
  )
})

test('no other role may say it', () => {
  fc.assert(
    fc.property(anySignable, fc.constantFrom(...roles), (signable, role) => {
      fc.pre(role !== roleOf[signable.kind])
      const payload = statementBytes(signable, origin)
      expect(() => decodeFact({ payload, role, ...place, origin })).toThrow(refused)
    }),
  )
})

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** Every object and list inside a value, by its path. */
function containers(value: Json, path: readonly (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return []
  const inner = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  return [[...path], ...inner.flatMap(([key, one]) => containers(one, [...path, key]))]
}

function changed(
  value: Json,
  path: readonly (string | number)[],
  change: (at: Json) => void,
): Json {
  const copy = structuredClone(value)
  let at: Json = copy
  for (const key of path) at = (at as { [key: string]: Json })[key]!
  change(at)
  return copy
}

const say = (kind: FactKind) =>
  JSON.parse(Buffer.from(statementBytes(example(kind), origin)).toString()) as Json

test.each(kinds.filter((kind) => kind !== 'sbom'))(
  'a field or an item more, anywhere in a %s statement, is refused',
  (kind) => {
    const whole = say(kind)
    for (const path of containers(whole)) {
      const more = changed(whole, path, (at) => {
        if (Array.isArray(at)) at.push({ more: 1 })
        else (at as { [key: string]: Json })['more'] = 1
      })
      expect(() => parseStatement(canonicalJson(more), origin)).toThrow(refused)
    }
  },
)

// Provenance has fields that may be missing; what it needs is checked field by field below.
test.each(kinds.filter((kind) => kind !== 'sbom' && kind !== 'provenance'))(
  'a field less, anywhere in a %s statement, is refused',
  (kind) => {
    const whole = say(kind)
    for (const path of containers(whole)) {
      let keys: string[] = []
      changed(whole, path, (at) => (keys = Array.isArray(at) ? [] : Object.keys(at as object)))
      for (const key of keys) {
        const less = changed(whole, path, (at) => delete (at as { [key: string]: Json })[key])
        expect(() => parseStatement(canonicalJson(less), origin)).toThrow(refused)
      }
    }
  },
)

test.each(['source', 'template', 'base', 'files', 'sbom'])(
  'a provenance without its %s is refused',
  (name) => {
    const text = Buffer.from(statementBytes(example('provenance'), origin)).toString()
    const wrong = text.replace(`"name":"${name}"`, '"name":"other"')
    expect(wrong).not.toBe(text)
    expect(() => parseStatement(Buffer.from(wrong), origin)).toThrow(refused)
  },
)

test.each(kinds)('a %s statement in another spelling is refused', (kind) => {
  const text = Buffer.from(statementBytes(example(kind), origin)).toString()
  const spellings = [
    ` ${text}`,
    JSON.stringify(JSON.parse(text), null, 1),
    text.replace('{"_type"', '{"_type":"x","_type"'),
    text.slice(0, -1),
  ]
  for (const spelling of spellings) {
    expect(() => parseStatement(Buffer.from(spelling), origin)).toThrow(refused)
  }
  expect(() => parseStatement(Buffer.from([0xff]), origin)).toThrow(refused)
})

test.each(kinds.filter((kind) => kind !== 'sbom'))(
  'a %s statement of another log is refused',
  (kind) => {
    const payload = statementBytes(example(kind), origin)
    expect(() => parseStatement(payload, 'other.example')).toThrow(refused)
  },
)

test('a subject that is not what the body says is refused', () => {
  const whole = say('change')
  const other = changed(whole, ['subject', 0, 'digest'], (at) => {
    ;(at as { [key: string]: Json })['sha256'] = 'ab'.repeat(32)
  })
  expect(() => parseStatement(canonicalJson(other), origin)).toThrow(refused)
})

test('a sequence that no number holds is refused', () => {
  const text = Buffer.from(statementBytes(example('key'), origin)).toString()
  for (const number of ['9007199254740993', '0', '-1', '1.5', '1e400']) {
    const wrong = text.replace(/"sequence":\d+/, `"sequence":${number}`)
    expect(wrong).not.toBe(text)
    expect(() => parseStatement(Buffer.from(wrong), origin)).toThrow(refused)
  }
})

test('an SBOM without a time gets the statement’s', () => {
  const sbom = example('sbom')
  const { metadata: _, ...document } = sbom.document as { metadata: object }
  const time = '2026-01-01T00:00:00Z'
  const payload = statementBytes({ ...sbom, time, document }, origin)
  expect(decodeFact({ payload, role: 'build', ...place, origin })).toMatchObject({ time })
})

test('the provisioning key is the verification summary of docs', () => {
  const key = example('key')
  const statement = buildStatement(
    {
      ...key,
      time: '2026-01-01T00:00:00Z',
      policy: { ...key.policy, name: 'default' },
      body: { ...key.body, environment: 'my-app/prod', previous: null },
    },
    origin,
  )
  expect(statement).toMatchObject({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'my-app', digest: { sha256: key.body.digest.slice(7) } }],
    predicateType: 'https://slsa.dev/verification_summary/v1',
    predicate: {
      verifier: { id: 'https://kiln.local/promoter/v1', version: { kiln: '0.1.0' } },
      timeVerified: '2026-01-01T00:00:00Z',
      resourceUri: 'oci://kiln.local/my-app?environment=prod',
      policy: { uri: 'https://kiln.local/policies/default' },
      verificationResult: 'PASSED',
      verifiedLevels: ['KILN_PROMOTED_MY_APP_PROD'],
      slsaVersion: '1.2',
      'https://kiln.local/provisioning-key/v1': {
        environment: 'my-app/prod',
        sequence: key.body.sequence,
        previous: null,
        source: { gitCommit: key.body.commit },
      },
    },
  })
})

test('a key of 0.1.0, which named a build level that it did not claim, reads as it was', () => {
  const early = { ...example('key'), unevaluated: true } as const
  const { predicate } = buildStatement(early, origin) as { predicate: { verifiedLevels: string[] } }
  expect(predicate.verifiedLevels[0]).toBe('SLSA_BUILD_LEVEL_UNEVALUATED')
  expect(parseStatement(statementBytes(early, origin), origin)).toEqual(early)
})

test.each([
  [
    'a key',
    'key:hello/prod@7',
    { kind: 'key', environment: 'hello/prod', sequence: 7, key: 'ab'.repeat(32) },
  ],
  [
    'a template',
    'template:debian-base',
    { kind: 'template', name: 'debian-base', lock: example('key').body.template },
  ],
  [
    'what a signing key said',
    'signing-key:promote',
    {
      kind: 'signing-key',
      role: 'promote',
      fingerprint: example('key').body.template,
      from: 7,
      to: 9,
    },
  ],
] as const)(
  'a denial of %s names it as its subject, and is about no artifact',
  (_what, name, of) => {
    const said = example('denial')
    const denial = { ...said, artifact: null, app: null, body: { ...said.body, of } } as const
    const statement = buildStatement(denial, origin)
    expect(statement.subject[0].name).toBe(name)
    const payload = statementBytes(denial, origin)
    expect(parseStatement(payload, origin)).toEqual(denial)
    expect(decodeFact({ payload, role: 'deny', ...place, origin })).toMatchObject({
      kind: 'denial',
      artifact: null,
      body: { of },
    })
    // Of another subject than its body names it is no denial at all.
    const other = { ...statement, subject: [{ name: 'hello', digest: { sha256: 'd'.repeat(64) } }] }
    expect(() => parseStatement(canonicalJson(other), origin)).toThrow('not a canonical denial')
  },
)
