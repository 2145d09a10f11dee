import { expect, test } from 'vitest'
import { digestOfHex } from '../../src/domain/digest.ts'
import { emptyLedger, foldAll, type Ledger } from '../../src/domain/ledger.ts'
import type { Fact } from '../../src/domain/statement.ts'
import { withoutLogEntry, type LoggedBundle } from '../../signing/bundle.ts'
import type { Signable, SignableOf } from '../../signing/statement.ts'
import { verifyBundle } from '../../signing/verify.ts'
import { verifyKey, type KeyCheck, type KeyQuestion } from '../../signing/verify-key.ts'
import { signedLog } from '../helpers/signed-log.ts'
import { example } from './examples.ts'

const environment = 'hello/prod'
const digests = [1, 2, 3].map((n) => digestOfHex(String(n).repeat(64)))
const digest = digests[0]!
const definition = digestOfHex('d'.repeat(64))

function changeTo(of: Partial<SignableOf<'change'>['body']>): SignableOf<'change'> {
  const change = example('change')
  const target = { digest, definition }
  const body = { ...change.body, environment, changeKind: 'promotion', target, ...of } as const
  return { ...change, body }
}

function keyOf(of: Partial<SignableOf<'key'>['body']>): SignableOf<'key'> {
  const key = example('key')
  return { ...key, body: { ...key.body, environment, digest, definition, ...of } }
}

/** A real log with the environment's first change and key, and what a host would ask about it. */
async function scene() {
  const log = signedLog()
  const facts: Fact[] = []
  const say = async (signable: Signable) => {
    const bundle = await log.add(signable)
    const { fact, leaf } = verifyBundle(bundle, log.trust, { kind: signable.kind })
    facts.push(fact)
    return { bundle, leaf }
  }
  const change = await say(changeTo({ epoch: 1, tip: null }))
  const key = await say(keyOf({ sequence: 1, epoch: 1, previous: null }))
  const ask = (of: Partial<KeyQuestion> = {}) =>
    verifyKey({
      bundle: key.bundle,
      trust: log.trust,
      expected: { environment, digest, definition },
      facts: { ledger: foldAll(facts), minSequence: 1 },
      ...of,
    })
  return { log, facts, say, change, key, ask }
}

type Scene = Awaited<ReturnType<typeof scene>>

function activated({ change, key }: Scene): SignableOf<'activation'> {
  const activation = example('activation')
  const body = {
    ...activation.body,
    environment,
    epoch: 1,
    change: example('change').body.change,
    outcome: 'active',
    key: key.leaf,
  } as const
  expect(change.leaf).not.toBe(key.leaf)
  return { ...activation, body }
}

test('the pending key of an environment admits its pair, and so does the active one', async () => {
  const here = await scene()
  const pending = here.ask()
  expect(pending.checks.every((check) => check.ok)).toBe(true)
  expect(pending).toMatchObject({ verdict: 'admissible', key: { leaf: here.key.leaf } })
  await here.say(activated(here))
  expect(here.ask().verdict).toBe('admissible')
})

const cases: readonly [KeyCheck['name'], string, (here: Scene) => Partial<KeyQuestion>][] = [
  ['signature', 'it is no bundle', () => ({ bundle: { some: 'thing' } })],
  ['signature', 'it is nothing', () => ({ bundle: undefined })],
  ['signature', 'its signer is not trusted', () => ({ trust: signedLog().trust })],
  ['signature', 'it lacks its log entry', ({ key }) => ({ bundle: withoutLogEntry(key.bundle) })],
  ['signature', 'its payload was changed', ({ key, change }) => ({ bundle: mixed(key, change) })],
  ['role', 'it is another statement', ({ change }) => ({ bundle: change.bundle })],
  [
    'environment',
    'it is for another environment',
    () => ({ expected: { environment: 'hello/test', digest, definition } }),
  ],
  [
    'digest',
    'it is for another digest',
    () => ({ expected: { environment, digest: digests[1]!, definition } }),
  ],
  [
    'definition',
    'it is for another definition',
    () => ({ expected: { environment, digest, definition: digests[1]! } }),
  ],
  [
    'sequence',
    'a higher sequence was seen',
    ({ facts }) => ({ facts: { ledger: foldAll(facts), minSequence: 2 } }),
  ],
  [
    'valid in the ledger',
    'the ledger does not hold it',
    ({ facts }) => ({ facts: { ledger: foldAll(facts.slice(0, 1)) } }),
  ],
  [
    'valid in the ledger',
    'no ledger was given',
    () => ({ facts: { ledger: undefined as unknown as Ledger } }),
  ],
  [
    'valid in the ledger',
    'the ledger says it is void',
    ({ facts, key }) => ({ facts: { ledger: { ...foldAll(facts), void: new Set([key.leaf]) } } }),
  ],
  [
    'admissible',
    'its environment is unknown to the ledger',
    () => ({ facts: { ledger: { ...emptyLedger(), size: 9 } } }),
  ],
]

function mixed(key: { bundle: LoggedBundle }, change: { bundle: LoggedBundle }): object {
  const dsseEnvelope = { ...key.bundle.dsseEnvelope, payload: change.bundle.dsseEnvelope.payload }
  return { ...key.bundle, dsseEnvelope }
}

test.each(cases)('refused at «%s» when %s', async (name, _when, question) => {
  const here = await scene()
  const verdict = here.ask(question(here))
  expect(verdict).toMatchObject({ verdict: 'refused', reason: { name, ok: false } })
  expect(verdict.checks).toHaveLength(10)
})

test('a key by another role is refused, and one that is not in the log', async () => {
  const { ask, log } = await scene()
  const byRecord = await log.add(keyOf({ sequence: 2 }), 'record')
  expect(ask({ bundle: byRecord })).toMatchObject({ reason: { name: 'role' } })
  const unlogged = await log.add(keyOf({ sequence: 3 }))
  const entries = log.bundleAt(0).verificationMaterial.tlogEntries
  const bundle = {
    ...unlogged,
    verificationMaterial: { ...unlogged.verificationMaterial, tlogEntries: entries },
  }
  expect(ask({ bundle })).toMatchObject({ reason: { name: 'inclusion' } })
})

test('a FAILED summary by the promote key admits nothing', async () => {
  const { ask, log } = await scene()
  const denial = { ...example('denial'), artifact: digest, app: 'hello' }
  const bundle = await log.add(denial, 'promote')
  expect(ask({ bundle })).toMatchObject({ verdict: 'refused', reason: { name: 'role' } })
})

test('a denied digest, a failed key and a superseded key admit nothing', async () => {
  const denied = await scene()
  await denied.say({ ...example('denial'), artifact: digest, app: 'hello' })
  expect(denied.ask()).toMatchObject({ verdict: 'refused', reason: { name: 'not denied' } })

  const failed = await scene()
  const activation = activated(failed)
  await failed.say({ ...activation, body: { ...activation.body, outcome: 'failed' } })
  expect(failed.ask()).toMatchObject({ verdict: 'refused', reason: { name: 'admissible' } })

  const superseded = await scene()
  await superseded.say(activated(superseded))
  const target = { digest: digests[1]!, definition }
  await superseded.say(changeTo({ epoch: 2, tip: superseded.change.leaf, target }))
  const second = await superseded.say(
    keyOf({ sequence: 2, epoch: 2, previous: superseded.key.leaf, digest: digests[1]! }),
  )
  expect(superseded.ask().verdict).toBe('admissible')
  const first = activated(superseded)
  await superseded.say({ ...first, body: { ...first.body, epoch: 2, key: second.leaf } })
  expect(superseded.ask()).toMatchObject({ verdict: 'refused', reason: { name: 'admissible' } })
})

test('aside, the rollback target alone is admitted, by the key that it was active by', async () => {
  const here = await scene()
  await here.say(activated(here))
  const first = { facts: { ledger: foldAll(here.facts), rehearsal: true } }
  // What serves needs no rehearsal, and nothing is stored yet.
  expect(here.ask(first)).toMatchObject({ verdict: 'refused', reason: { name: 'admissible' } })

  const target = { digest: digests[1]!, definition }
  await here.say(changeTo({ epoch: 2, tip: here.change.leaf, target }))
  const rollbackTo = { sequence: 1, digest }
  const second = await here.say(
    keyOf({ sequence: 2, epoch: 2, previous: here.key.leaf, digest: digests[1]!, rollbackTo }),
  )
  const rehearsal = () => ({ facts: { ledger: foldAll(here.facts), rehearsal: true } })
  const outcome = activated(here)
  await here.say({ ...outcome, body: { ...outcome.body, epoch: 2, key: second.leaf } })
  expect(here.ask().verdict).toBe('refused')
  expect(here.ask(rehearsal())).toMatchObject({
    verdict: 'admissible',
    key: { leaf: here.key.leaf },
  })
  const active = { bundle: second.bundle, expected: { environment, ...target } } as const
  expect(here.ask({ ...rehearsal(), ...active })).toMatchObject({
    verdict: 'refused',
    reason: { name: 'admissible' },
  })
  await here.say({ ...example('denial'), artifact: digest, app: 'hello' })
  expect(here.ask(rehearsal())).toMatchObject({
    verdict: 'refused',
    reason: { name: 'not denied' },
  })
})

test('the second of two keys of one sequence is void and admits nothing', async () => {
  const here = await scene()
  const second = await here.say(keyOf({ sequence: 1, epoch: 1, previous: null }))
  expect(here.ask().verdict).toBe('admissible')
  expect(here.ask({ bundle: second.bundle })).toMatchObject({
    verdict: 'refused',
    reason: { name: 'valid in the ledger' },
  })
})

test('a key that says the same in another log is not this one', async () => {
  const [here, elsewhere] = [await scene(), await scene()]
  expect(here.ask({ facts: { ledger: foldAll(elsewhere.facts) } })).toMatchObject({
    verdict: 'refused',
    reason: { name: 'admissible' },
  })
})
