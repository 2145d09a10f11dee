import { expect, test } from 'vitest'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { deliveryId } from '../../src/main/operation-ids.ts'
import { recordedOperation } from '../../src/main/recorded-operations.ts'
import { FactLog } from '../helpers/facts.ts'

const dev: EnvironmentName = 'hello/dev'

test('a change that Temporal forgot is answered with how it ended', () => {
  const log = new FactLog()
  const [a, b] = [log.seal('a'), log.seal('b')]
  log.promote(dev, a)
  log.change(dev, b)
  log.key(dev, b)
  expect(recordedOperation(log.facts, 'change.hello.dev.2')).toBeUndefined()
  log.outcome(dev, 'failed', { failure: { code: 'change_failed', message: 'never ready' } })
  expect(recordedOperation(log.facts, 'change.hello.dev.1')).toMatchObject({
    kind: 'promotion',
    state: 'succeeded',
    subject: dev,
    requestedBy: 'tester',
    result: { epoch: 1, digest: a },
    failure: null,
  })
  expect(recordedOperation(log.facts, 'change.hello.dev.2')).toMatchObject({
    state: 'failed',
    result: { digest: b },
    failure: { code: 'change_failed', message: 'never ready' },
  })
  expect(recordedOperation(log.facts, 'change.hello.dev.3')).toBeUndefined()
})

test('a build and the delivery that asked for it are answered with the artifact or why there is none', () => {
  const log = new FactLog()
  const digest = log.seal('a')
  const [sealed] = log.facts
  if (sealed?.kind !== 'sealed') throw new Error('the first fact is the sealed one')
  const { build, source } = sealed.body
  for (const id of [build, deliveryId(source.repository, source.commit, '')]) {
    expect(recordedOperation(log.facts, id)).toMatchObject({
      id,
      state: 'succeeded',
      result: { digest, build },
    })
  }
  const other = { ...source, commit: 'b'.repeat(40) }
  const failed = `build:${'c'.repeat(64)}`
  log.add({
    kind: 'rejected',
    artifact: null,
    body: {
      state: 'rejected',
      build: failed,
      app: 'hello',
      source: other,
      code: 'build_failed',
      message: 'no',
    },
  })
  expect(recordedOperation(log.facts, failed)).toMatchObject({
    kind: 'build',
    state: 'failed',
    failure: { code: 'build_failed', message: 'no' },
  })
  expect(recordedOperation(log.facts, `delivery.${'0'.repeat(16)}`)).toBeUndefined()
})

test('a refusal is answered with its rule', () => {
  const log = new FactLog()
  const artifact = log.seal('a')
  const id = 'change.hello.dev.refused'
  const body = {
    environment: dev,
    change: id,
    rule: 'held',
    message: 'it is held',
    requestedBy: 'tester',
  }
  log.add({ kind: 'refusal', artifact, body })
  expect(recordedOperation(log.facts, id)).toMatchObject({
    state: 'refused',
    failure: { code: 'refused', message: 'it is held', place: 'held' },
  })
})
