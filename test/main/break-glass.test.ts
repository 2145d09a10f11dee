import { expect, test } from 'vitest'
import { breakGlassIn } from '../../src/main/break-glass.ts'
import type { Engine } from '../../src/main/engine.ts'
import { FactLog, hash } from '../helpers/facts.ts'

const asked = { principal: { name: 'ann', kind: 'token' }, id: 'a'.repeat(32) } as const
const [one, two, other] = [`ab12${hash('1').slice(4)}`, `ab34${hash('2').slice(4)}`, hash('3')]

function kiln() {
  const log = new FactLog()
  const artifact = log.seal('a')
  for (const [environment, instances] of [
    ['hello/dev', [{ name: 'kiln.hello.dev.1.1', id: one }]],
    [
      'hello/prod',
      [
        { name: 'kiln.hello.prod.1.1', id: two },
        { name: 'kiln.hello.prod.1.2', id: other },
      ],
    ],
  ] as const) {
    log.change(environment, artifact)
    log.key(environment, artifact)
    log.outcome(environment, 'active', { instances })
  }
  const requests: Parameters<Engine['breakGlass']>[0][] = []
  const { breakGlass } = breakGlassIn({
    ledger: async () => log.ledger,
    engine: {
      breakGlass: async (request) => {
        requests.push(request)
        return { until: 'then' }
      },
    },
  })
  const ask = (instance: string, seconds = 900) =>
    breakGlass(asked, { instance, seconds, reason: 'x' })
  return { log, requests, ask }
}

test.each([
  ['kiln.hello.prod.1.1', 'hello/prod', two],
  [two.slice(0, 12), 'hello/prod', two],
  [one, 'hello/dev', one],
])('an instance is found by its name or its id: %s', async (name, environment, id) => {
  const { ask, requests } = kiln()
  expect(await ask(name)).toMatchObject({ environment, id, until: 'then' })
  expect(requests).toMatchObject([
    { environment, instance: { id }, seconds: 900, principal: asked.principal },
  ])
})

test('what is none, or too short to be one, is refused with what there is', async () => {
  const { ask, requests } = kiln()
  for (const name of ['kiln.hello.prod.9.9', 'ab', 'kiln.hello', '']) {
    await expect(ask(name)).rejects.toMatchObject({
      code: 'not_found',
      fix: expect.stringContaining('kiln.hello.dev.1.1'),
    })
  }
  await expect(ask('kiln.hello.prod.1.1', 0)).rejects.toThrow(
    'nobody was let into kiln.hello.prod.1.1',
  )
  expect(requests).toEqual([])
})
