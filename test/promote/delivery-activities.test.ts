import { expect, test } from 'vitest'
import { digestOfJson } from '../../signing/canonical.ts'
import type { CheckedTemplate } from '../../src/domain/template.ts'
import { deliveryActivities } from '../../src/promote/delivery-activities.ts'
import { digestFor, FactLog } from '../helpers/facts.ts'

const base = { name: 'debian-base', lock: digestFor('base') }
const template: CheckedTemplate = {
  name: 'node-service',
  lock: digestFor('service'),
  base,
  dockerfile: digestFor('dockerfile'),
  files: null,
  images: { base: digestFor('image'), fetch: null },
  dependencies: 'none',
}
const source = {
  repository: '/r',
  commit: 'a'.repeat(40),
  tree: 'b'.repeat(40),
  committedAt: 1,
  subject: 'one',
}
const found = {
  source,
  app: 'hello',
  template: 'node-service',
  context: digestFor('context'),
  specification: digestFor('specification'),
  pipeline: [],
}

const never = () => Promise.reject(new Error('not asked for'))

function identify(log: FactLog, isGone = false): Promise<{ id: string; artifact: unknown }> {
  const activities = deliveryActivities({
    ledger: async () => log.ledger,
    digestOfJson,
    templates: { put: async () => undefined, get: never },
    engine: { build: never, deliver: never },
    isGone: async () => isGone,
    bundlesOf: never,
  })
  return activities.identifyBuild({ found, template })
}

test.each([
  ['its template', { name: template.name, lock: template.lock }],
  ['what its template stands on', base],
])('nothing is built when %s was denied', async (_what, denied) => {
  const log = new FactLog()
  await expect(identify(log)).resolves.toMatchObject({ id: expect.stringMatching(/^build:/) })
  const of = { kind: 'template', ...denied } as const
  log.add({ kind: 'denial', artifact: null, body: { reason: 'CVE', requestedBy: 'ana', of } })
  await expect(identify(log)).rejects.toMatchObject({
    code: 'refused',
    place: 'denied',
    message: `${denied.name} at lock ${denied.lock} was denied by ana: CVE`,
    fix: `kiln template lock ${denied.name}, commit and build`,
  })
})

test('a commit whose artifact was collected is built again, under the same id', async () => {
  const log = new FactLog()
  const { id } = await identify(log)
  log.seal('hello')
  const [sealed] = log.facts
  if (sealed?.kind !== 'sealed') throw new Error('nothing was sealed')
  log.add({ ...sealed, artifact: digestFor('made'), body: { ...sealed.body, build: id } })
  expect(await identify(log)).toEqual({ id, artifact: digestFor('made') })
  expect(await identify(log, true)).toEqual({ id, artifact: null })
})
