import { beforeAll, describe, expect, test } from 'vitest'
import { digestOfHex } from '../../src/domain/digest.ts'
import { foldAll } from '../../src/domain/ledger.ts'
import type { Fact } from '../../src/domain/statement.ts'
import type { LoggedBundle } from '../../signing/bundle.ts'
import type { Signable, SignableOf } from '../../signing/statement.ts'
import { verifyBundle } from '../../signing/verify.ts'
import { verifyKey, type KeyQuestion } from '../../signing/verify-key.ts'
import { memoryKeys, signedLog, type SignedLog } from '../helpers/signed-log.ts'
import { example } from './examples.ts'

/** Two valid bundles X and Y: X with any one field, or any part, of Y is refused. */

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
type Path = readonly (string | number)[]

const digest = digestOfHex('1'.repeat(64))
const definition = digestOfHex('d'.repeat(64))

function changeTo(environment: string, target = { digest, definition }): SignableOf<'change'> {
  const change = example('change')
  const body = { ...change.body, environment, epoch: 1, tip: null, target } as const
  return { ...change, body: { ...body, changeKind: 'promotion' } as SignableOf<'change'>['body'] }
}

function keyTo(environment: string, of = { digest, definition }): SignableOf<'key'> {
  const key = example('key')
  const body = { ...key.body, ...of, environment, sequence: 1, epoch: 1, previous: null }
  return { ...key, body: body as SignableOf<'key'>['body'] }
}

async function say(log: SignedLog, facts: Fact[], signable: Signable): Promise<LoggedBundle> {
  const bundle = await log.add(signable)
  facts.push(verifyBundle(bundle, log.trust, { kind: signable.kind }).fact)
  return bundle
}

/** A log with prod's key X, at three sizes of the log, and whatever else stands there. */
async function scene(keys = memoryKeys()) {
  const log = signedLog('kiln.local', keys)
  const facts: Fact[] = []
  await say(log, facts, changeTo('hello/prod'))
  const x = await say(log, facts, keyTo('hello/prod'))
  await say(log, facts, changeTo('hello/test'))
  const elsewhere = await say(log, facts, keyTo('hello/test'))
  const otherDigest = await say(
    log,
    facts,
    keyTo('hello/prod', { digest: digestOfHex('2'.repeat(64)), definition }),
  )
  const otherKind = await say(log, facts, { ...example('denial'), artifact: digest, app: 'other' })
  const other = keyTo('hello/prod', { digest: digestOfHex('3'.repeat(64)), definition })
  const later = await log.add({ ...other, body: { ...other.body, sequence: 2, epoch: 2 } })
  const old = await log.rotate('promote')
  // The same words as X's, of the next sequence, and by a key whose time is over.
  const byNext = await log.add(keyTo('hello/prod'))
  const outOfRange = await log.add(keyTo('hello/prod'), old)
  return { log, facts, x, elsewhere, otherDigest, otherKind, later, byNext, outOfRange }
}

let here: Awaited<ReturnType<typeof scene>>
let others: Record<string, LoggedBundle>

beforeAll(async () => {
  const keys = memoryKeys()
  here = await scene(keys)
  const samePeople = await scene(keys)
  others = {
    'a key of another environment': here.elsewhere,
    'a key for another digest': here.otherDigest,
    'a denial': here.otherKind,
    'a key of a later sequence': here.later,
    'a key of the same words by the key that followed': here.byNext,
    'a key of the same words by the old key, logged after its range': here.outOfRange,
    'the same statement, logged again elsewhere by the same signers': samePeople.x,
    "another Kiln's key of the same words": (await scene()).x,
  }
})

function ask(bundle: unknown, change: Partial<KeyQuestion> = {}) {
  const facts = here.facts.filter(({ kind }) => kind !== 'denial')
  return verifyKey({
    bundle,
    trust: here.log.trust,
    expected: { environment: 'hello/prod', digest, definition },
    facts: { ledger: foldAll(facts), minSequence: 1 },
    ...change,
  })
}

const judge = (bundle: unknown): string => ask(bundle).verdict

function parts(value: Json, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, part]) => parts(part, [...path, key]))]
}

function at(value: Json | undefined, path: Path): Json | undefined {
  return path.reduce<Json | undefined>(
    (part, key) => (part as Record<string, Json> | undefined)?.[key],
    value,
  )
}

function withPart(value: Json, path: Path, part: Json | undefined): Json {
  const [key, ...rest] = path
  if (key === undefined) return part ?? null
  const copy = structuredClone(value) as Record<string, Json>
  const inner = rest.length === 0 ? part : withPart(copy[key] ?? null, rest, part)
  if (inner === undefined) delete copy[key]
  else copy[key] = inner
  return copy
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/** Every part in which the two differ, the whole bundle left out: that one is simply Y. */
function differences(x: Json, y: Json): Path[] {
  const all = [...parts(x), ...parts(y)].filter((path) => path.length > 0)
  const distinct = [...new Map(all.map((path) => [path.join('/'), path])).values()]
  return distinct.filter((path) => !same(at(x, path), at(y, path)))
}

test('X itself is admissible', () => {
  expect(judge(here.x)).toBe('admissible')
})

/** The question's side of the binding: what the key is held against. Each is changed alone. */
test('X is refused when what it is held against is another', () => {
  const [trust, ledger] = [here.log.trust, foldAll(here.facts.filter((f) => f.kind !== 'denial'))]
  const expected = { environment: 'hello/prod', digest, definition } as const
  const index = Number(here.x.verificationMaterial.tlogEntries[0].logIndex)
  const ranged = (range: object) => ({
    ...trust,
    roles: trust.roles.map((key, n) => (n === promoteAt ? { ...key, ...range } : key)),
  })
  const promoteAt = trust.roles.findIndex(({ role }) => role === 'promote')
  const otherLog = signedLog('kiln.local').trust.logKey
  const questions: Record<string, [reason: string, change: Partial<KeyQuestion>]> = {
    'the range ends before it': ['inclusion', { trust: ranged({ validTo: index }) }],
    'the range begins after it': ['inclusion', { trust: ranged({ validFrom: index + 1 }) }],
    'the key has another role': ['role', { trust: ranged({ role: 'deny' }) }],
    'the key is in two roles': [
      'signature',
      {
        trust: { ...trust, roles: [...trust.roles, { ...trust.roles[promoteAt]!, role: 'test' }] },
      },
    ],
    'the log is another': ['inclusion', { trust: { ...trust, logKey: otherLog } }],
    'the origin is another': ['role', { trust: { ...trust, origin: 'other.example' } }],
    'the environment': ['environment', { expected: { ...expected, environment: 'hello/test' } }],
    'the digest': ['digest', { expected: { ...expected, digest: definition } }],
    'the definition': ['definition', { expected: { ...expected, definition: digest } }],
    'a later sequence was seen': ['sequence', { facts: { ledger, minSequence: 2 } }],
    'the digest is denied': ['not denied', { facts: { ledger: foldAll(here.facts) } }],
    'the ledger does not have it': ['valid in the ledger', { facts: { ledger: foldAll([]) } }],
  }
  const told = Object.entries(questions).map(([what, [, change]]) => {
    const verdict = ask(here.x, change)
    return [what, verdict.verdict === 'refused' ? verdict.reason.name : 'admissible']
  })
  expect(told).toEqual(Object.entries(questions).map(([what, [reason]]) => [what, reason]))
})

describe.each([
  'a key of another environment',
  'a key for another digest',
  'a denial',
  'a key of a later sequence',
  'a key of the same words by the key that followed',
  'a key of the same words by the old key, logged after its range',
  'the same statement, logged again elsewhere by the same signers',
  "another Kiln's key of the same words",
])('with a part of %s', (name) => {
  test('every one of them is refused, either way around', () => {
    const [x, y] = [here.x, others[name]] as unknown as [Json, Json]
    const found = differences(x, y)
    expect(found.length).toBeGreaterThan(5)
    const admitted = found.filter((path) => judge(withPart(x, path, at(y, path))) === 'admissible')
    expect(admitted.map((path) => path.join('/'))).toEqual([])
    // The other way around X's part makes nothing of Y that would be X.
    const made = found.filter((path) => judge(withPart(y, path, at(x, path))) === 'admissible')
    expect(made.map((path) => path.join('/'))).toEqual([])
  })

  test('two of them at once are refused as well', () => {
    const [x, y] = [here.x, others[name]] as unknown as [Json, Json]
    const leaves = differences(x, y).filter((path) => typeof at(y, path) !== 'object')
    const admitted: string[] = []
    for (const [n, one] of leaves.entries()) {
      const first = withPart(x, one, at(y, one))
      for (const two of leaves.slice(n + 1)) {
        const both = withPart(first, two, at(y, two))
        if (judge(both) === 'admissible' && !same(both, x))
          admitted.push(`${one.join('/')} ${two.join('/')}`)
      }
    }
    expect(admitted).toEqual([])
  })
})
