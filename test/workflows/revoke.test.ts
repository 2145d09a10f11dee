import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { digestOfHex, type Digest } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { createAdmission } from '../../src/main/admission.ts'
import { signingKeysInLog, vouching } from '../../src/main/signing-keys.ts'
import { failOnceAfterWork, twice } from '../helpers/activity-faults.ts'
import { folderSigner } from '../helpers/ledger-signer.ts'
import { scratch } from '../helpers/store-scratch.ts'
import {
  kilnInMemory,
  person,
  promotion,
  testTemporal,
  until,
  type KilnInMemory,
  type TestTemporal,
} from './kiln-in-memory.ts'

let temporal: TestTemporal
let count = 0

beforeAll(async () => {
  temporal = await testTemporal()
})
afterAll(() => temporal.close())

/** New artifacts, each active in these environments after the one before. */
async function artifacts(
  on: KilnInMemory,
  many: number,
  environments = [on.dev, on.test],
): Promise<Digest[]> {
  const made: Digest[] = []
  for (let n = 0; n < many; n++) {
    const digest = await on.deliver(`artifact ${++count}`)
    // What came before it in these tests may hold dev.
    for (const environment of environments) {
      const { active } = await on.state(environment)
      if (active?.body.digest !== digest) await on.done(environment, promotion(digest))
    }
    made.push(digest)
  }
  return made
}

function served(on: KilnInMemory, environment: EnvironmentName): string[] {
  return on.host.serving(environment).map((one) => one.digest)
}

test('when every activity runs twice, and fails once after its work, a denial is one entry, and every environment that serves it returns or stops', async () => {
  const own = await kilnInMemory(temporal, { wrap: (one) => failOnceAfterWork(twice(one)) })
  onTestFinished(() => own.close())
  const [a, b] = await artifacts(own, 2)
  await own.done(own.prod, promotion(b!))
  const before = (await own.kinds()).length
  const operation = await own.revoke(b!)
  expect(operation).toMatchObject({
    state: 'succeeded',
    result: {
      by: 'tester',
      reason: 'stolen',
      [own.dev]: `returned to ${a} (key 3)`,
      [own.test]: `returned to ${a} (key 3)`,
      [own.prod]: 'stopped: nothing to return to',
    },
  })
  const kinds = (await own.kinds()).slice(before)
  expect(kinds[0]).toBe('denial')
  const changes = [
    ['change', 'key', 'activation'],
    ['change', 'key', 'activation'],
    ['change', 'activation'],
  ]
  expect(kinds.slice(1).toSorted()).toEqual(changes.flat().toSorted())
  expect(served(own, own.dev)).toEqual([a])
  expect(served(own, own.test)).toEqual([a])
  expect(own.host.running(own.prod)).toEqual([])
  // Only what stopped served nothing for a while.
  expect(own.host.gaps).toHaveLength(1)
  const prod = await own.state(own.prod)
  expect(prod).toMatchObject({ active: null, alarm: { cause: 'denied' } })
  expect((await own.state(own.dev)).hold).not.toBeNull()
  // Said again it is the same denial, and there is nothing to do.
  const again = await own.revoke(b!)
  expect(again).toMatchObject({
    state: 'succeeded',
    result: { denial: operation.result['denial'] },
  })
  expect((await own.kinds()).length).toBe(before + kinds.length)
  expect(own.ledger.ledger().void.size).toBe(0)
}, 180_000)

test('what a stolen build key signed leaves every environment, back to what another key signed, or it stops', async () => {
  const signer = await folderSigner(join(scratch(), 'keys'))
  const own = await kilnInMemory(temporal, { signer })
  onTestFinished(() => own.close())
  await own.ledger.changeRoles(vouching(own.ledger))
  const keys = signingKeysInLog({ ledger: own.ledger, signer })
  const current = async () => {
    const key = (await keys.list()).findLast(({ role }) => role === 'build')
    return digestOfHex(key!.fingerprint.slice('sha256:'.length))
  }
  const a = await own.deliver(`artifact ${++count}`)
  await keys.follow({ role: 'build', fingerprint: await current() })
  const [b] = await artifacts(own, 1)
  const before = (await own.kinds()).length
  const fingerprint = await current()
  const operation = await own.revoke({ kind: 'signing-key', fingerprint, from: 0 })
  expect(operation).toMatchObject({
    state: 'succeeded',
    result: {
      artifacts: 1,
      [own.dev]: `returned to ${a} (key 3)`,
      [own.test]: 'stopped: nothing to return to',
    },
  })
  // It did not sign its own denial.
  expect((await own.kinds()).slice(before, before + 2)).toEqual(['roles', 'denial'])
  expect(await current()).not.toBe(fingerprint)
  expect([served(own, own.dev), own.host.running(own.test)]).toEqual([[a], []])
  expect((await own.state(own.test)).alarm).toMatchObject({ cause: 'denied' })
  await refusedByHosts(own, { artifact: b!, keys: 2 })
}, 180_000)

/** A host's own judgement, from the log alone, of every key that was ever issued for an artifact. */
async function refusedByHosts(
  on: KilnInMemory,
  { artifact, keys: many }: { artifact: Digest; keys: number },
): Promise<void> {
  const memory = { deny: async () => undefined, demandFresh: async () => undefined }
  const { check } = createAdmission({ store: on.store, reader: on.ledger }, memory)
  const keys = on.ledger.facts().filter((fact) => fact.kind === 'key')
  const about = keys.filter(({ body }) => body.digest === artifact)
  expect(about).toHaveLength(many)
  for (const { leaf, body } of about) {
    const { environment, digest, definition } = body
    const asked = { environment, digest, definition, key: leaf, seen: { epoch: 0, sequence: 0 } }
    await expect(check(asked)).rejects.toThrow('not denied: found denied')
  }
}

describe('in one Kiln', () => {
  let kiln: KilnInMemory

  beforeAll(async () => {
    kiln = await kilnInMemory(temporal)
  })
  afterAll(() => kiln.close())
  afterEach(() => kiln.stage.clear())

  test('a target that never gets ready does not leave the denied one serving: everything stops', async () => {
    const [, b] = await artifacts(kiln, 2)
    kiln.stage.before('waitReady', () => {
      throw new KilnError('change_failed', 'not ready in time')
    })
    const operation = await kiln.revoke(b!)
    expect(operation.result).toMatchObject({ [kiln.test]: 'stopped: nothing to return to' })
    expect(kiln.host.running(kiln.test)).toEqual([])
    expect(await kiln.state(kiln.test)).toMatchObject({ active: null, alarm: { cause: 'denied' } })
  })

  test('a denied key takes its artifact from that environment alone, where it may come again under another', async () => {
    const [a, b] = await artifacts(kiln, 2)
    const { sequence } = await kiln.state(kiln.test)
    const { result } = await kiln.revoke({ kind: 'key', environment: kiln.test, sequence })
    expect(result).toMatchObject({
      artifacts: 0,
      [kiln.test]: `returned to ${a} (key ${sequence + 1})`,
    })
    expect(result).not.toHaveProperty([kiln.dev])
    expect([kiln.dev, kiln.test].map((name) => served(kiln, name))).toEqual([[b], [a]])
    await kiln.done(kiln.test, promotion(b!))
    expect(served(kiln, kiln.test)).toEqual([b])
  })

  test('a template that is denied by its own lock takes what was built from it away, and nothing more is built from it', async () => {
    const here = [kiln.dev]
    // What another lock made serves already, but where this test runs alone.
    const a = served(kiln, kiln.dev)[0] ?? (await artifacts(kiln, 1, here))[0]
    kiln.builder.locked = ['what leaks']
    onTestFinished(() => void (kiln.builder.locked = []))
    const [b] = await artifacts(kiln, 1, here)
    expect(served(kiln, kiln.dev)).toEqual([b])
    const { sealed } = await kiln.ledger.refresh()
    const { result } = await kiln.revoke({ kind: 'template', ...sealed.get(b!)!.body.template })
    const { sequence } = await kiln.state(kiln.dev)
    expect(result).toMatchObject({
      artifacts: 1,
      [kiln.dev]: `returned to ${a} (key ${sequence})`,
    })
    expect(served(kiln, kiln.dev)).toEqual([a])
    await refusedByHosts(kiln, { artifact: b!, keys: 1 })
    await expect(kiln.deliver(`artifact ${++count}`)).rejects.toMatchObject({
      cause: { message: expect.stringContaining('was denied by tester: stolen') },
    })
    expect((await kiln.ledger.refresh()).sealed.size).toBe(sealed.size)
  })

  test('a denial goes before what waits, stops the change that brings it, and cannot be cancelled', async () => {
    const [a, b] = await artifacts(kiln, 2)
    await kiln.done(kiln.test, promotion(a!))
    const held = kiln.stage.hold('waitReady')
    const promoting = await kiln.ask(kiln.test, promotion(b!))
    await held.reached
    const scale = await kiln.ask(kiln.test, { kind: 'scale', instances: 2 })
    const revoked = kiln.revoke(b!)
    const returning = await until('the return waits', async () => {
      const all = await kiln.engine.environmentOperations(kiln.test)
      return all.find((one) => one.kind === 'return' && one.state === 'queued')
    })
    const cancel = { operation: returning.id, principal: person }
    await expect(kiln.engine.cancelChange(kiln.test, cancel)).rejects.toMatchObject({
      code: 'refused',
    })
    held.release()
    expect(await kiln.ended(kiln.test, promoting)).toMatchObject({ state: 'cancelled' })
    expect((await revoked).result).toMatchObject({
      [kiln.dev]: `returned to ${a} (key ${(await kiln.state(kiln.dev)).sequence})`,
      [kiln.test]: 'serves something else by now',
    })
    expect((await kiln.ended(kiln.test, scale)).state).toBe('succeeded')
    expect(served(kiln, kiln.test)).toEqual([a, a])
  })

  test('what was denied is not promoted, nor replaced by itself when it dies', async () => {
    const [a, b] = await artifacts(kiln, 2)
    await kiln.ledger.decide({
      id: `denial artifact ${b}`,
      signable: {
        kind: 'denial',
        time: new Date().toISOString(),
        version: '0.0.0',
        artifact: b!,
        app: kiln.dev.split('/')[0]!,
        body: { reason: 'stolen', requestedBy: 'somebody else' },
      },
    })
    const refused = await kiln.ended(kiln.prod, await kiln.ask(kiln.prod, promotion(b!)))
    expect(refused).toMatchObject({ state: 'refused', failure: { place: 'denied' } })
    // Whatever makes Kiln look again takes it away, also when its own work was lost.
    const [one] = kiln.host.running(kiln.test)
    await kiln.engine.drift(kiln.test, [
      { instance: one!.name, cause: 'stopped', found: 'exited', expected: 'running' },
    ])
    await until('it returned', async () => {
      const { closed, open } = await kiln.state(kiln.test)
      return open === null && closed?.body.changeKind === 'return' ? true : undefined
    })
    expect([...new Set(served(kiln, kiln.test))]).toEqual([a])
  })
})
