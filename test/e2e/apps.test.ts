import { execa } from 'execa'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { changeGreeting, type Repository } from '../../scripts/demo/repository.ts'
import type { Client } from '../../src/api/client.ts'
import { startLoad } from '../helpers/load-client.ts'
import { makeCertificate } from '../helpers/certificate.ts'
import { here } from './command.ts'
import { paramsOf } from './by-api.ts'
import { delivered, eventually, kilnAtHand, type KilnAtHand } from './kiln-at-hand.ts'
import { onRecord } from './record.ts'
import { monorepoStory } from './stories/monorepo.ts'
import { privateForge, webhookStory, type Forge } from './stories/webhooks.ts'

const shopHost = 'shop.example.test'
let kiln: KilnAtHand
let api: Client
let forge: Forge
let shop: Repository
let cart: Repository
let entrance: number
let tlsPort: number
let certificates: string

beforeAll(async () => {
  certificates = await mkdtemp(join(tmpdir(), 'kiln-certificates-'))
  forge = await privateForge()
  kiln = await kilnAtHand({ KILN_TLS_FOLDER: certificates, ...forge.settings })
  const { both } = await makeCertificate([shopHost])
  await writeFile(join(certificates, `${shopHost}.pem`), both, { mode: 0o600 })
  entrance = Number(kiln.env['KILN_API_PORT']) + 6
  tlsPort = entrance + 1
  await kiln.up()
  api = await kiln.api()
  shop = await kiln.repository('shop')
  cart = await kiln.repository('cart')
}, 180_000)

afterAll(async () => {
  await kiln.remove()
  await forge.close()
  await rm(certificates, { recursive: true, force: true })
}, 120_000)

/** The example as an app of its own; `more` stands in its first environment. */
async function asApp(repository: Repository, name: string, more: string): Promise<string> {
  const file = `version: 1
app: ${name}
template: node-service
environments:
  - name: dev
    resources: { memory: 96Mi, cpus: 0.5, pids: 64 }
    config: { WORK_TIME: 10ms }
    stop: { grace: 2s, drain: 3s }
${more}  - name: prod
    resources: { memory: 96Mi, cpus: 0.5, pids: 64 }
`
  await writeFile(join(repository.path, 'kiln.yaml'), file)
  return repository.commit(`${name} with ${more.trim()}`)
}

const activeIn = async (environment: string) =>
  (await api.environments({})).items.find((one) => one.name === environment)

function serves(environment: string, commit: string) {
  return eventually(`${environment} serves ${commit}`, 60, async () => {
    const found = await activeIn(environment)
    return found?.active?.commit === commit ? found : undefined
  })
}

function overTls(path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: tlsPort,
      path,
      servername: shopHost,
      headers: { host: shopHost },
      rejectUnauthorized: false,
    }
    request(options, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (part: string) => (body += part))
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
      .once('error', reject)
      .end()
  })
}

test('two apps on one Kiln, by host and by path; a promotion of one loses no request of either', async () => {
  const [first, other] = [
    await asApp(shop, 'shop', `    route: { host: ${shopHost} }\n`),
    await asApp(cart, 'cart', '    route: { path: /work }\n'),
  ]
  await Promise.all([delivered(api, shop, first), delivered(api, cart, other)])
  const [inShop, inCart] = await Promise.all([serves('shop/dev', first), serves('cart/dev', other)])
  expect(inShop.routes).toEqual([`https://${shopHost}:${tlsPort}`])
  expect(inCart.routes).toEqual([`http://127.0.0.1:${entrance}/work`])
  expect(inShop.address).not.toBe(inCart.address)

  const loads = [
    startLoad(`127.0.0.1:${entrance}`, { path: '/work', connections: 2, pauseMs: 10 }),
    startLoad(`${inShop.address}`, { path: '/work', connections: 2, pauseMs: 10 }),
  ]
  await changeGreeting(shop, 'A second greeting')
  const second = await shop.commit('second')
  await delivered(api, shop, second)
  await serves('shop/dev', second)
  await eventually('TLS serves the second', 30, async () => {
    const { status, body } = await overTls('/')
    return status === 200 && body.includes('A second greeting') ? true : undefined
  })
  const [cartReport, shopReport] = await Promise.all(loads.map((load) => load.stop()))
  expect([cartReport?.errors, cartReport?.failed]).toEqual([[], 0])
  expect([shopReport?.errors, shopReport?.failed]).toEqual([[], 0])
  // Each app's requests were answered by its own instances alone.
  const instances = Object.keys(cartReport?.perInstance ?? {})
  expect(instances.length).toBe(1)
  expect(instances[0]).toContain('.cart.dev.')
  expect(
    Object.keys(shopReport?.perInstance ?? {}).every((one) => one.includes('.shop.dev.')),
  ).toBe(true)
}, 150_000)

test('status and environments name the entrance, the routes and the certificate', async () => {
  const status = await here(kiln, 'status')
  expect(`${status.stdout}${status.stderr}`).toContain(`certificate ${shopHost}: valid until`)
  expect(`${status.stdout}${status.stderr}`).toContain(`entrance http://127.0.0.1:${entrance}`)
  const environments = await here(kiln, 'environments')
  expect(environments.stdout).toContain(`https://${shopHost}:${tlsPort}`)
})

test('a route that another app has is refused by its rule, on record, and nothing changes', async () => {
  const before = await activeIn('cart/dev')
  const commit = await asApp(cart, 'cart', `    route: { host: ${shopHost} }\n`)
  await delivered(api, cart, commit)
  const refusal = await eventually('the refusal is on record', 60, async () => {
    const { of } = await onRecord(kiln)
    return of('refusal').find(({ body }) => body.rule === 'route-taken')
  })
  expect(refusal.body).toMatchObject({
    environment: 'cart/dev',
    message: `the route ${shopHost} belongs to shop/dev`,
  })
  expect(await activeIn('cart/dev')).toEqual(before)
  expect((await overTls('/')).body).toContain('A second greeting')
}, 60_000)

test('an instance that hangs is replaced, and its app goes on', async () => {
  const more = `    instances: { min: 2 }
    readiness: { path: /ready, interval: 200ms, threshold: 1 }
    liveness: { path: /ready, interval: 500ms, timeout: 500ms, threshold: 3 }
    route: { path: /work }
`
  const commit = await asApp(cart, 'cart', more)
  await delivered(api, cart, commit)
  await serves('cart/dev', commit)
  const params = paramsOf('cart/dev')
  const { running } = await api.environment({ params })
  const [hung, well] = running
  await execa('docker', ['kill', '--signal', 'STOP', hung?.id ?? ''])
  const after = await eventually('the hung one is replaced', 90, async () => {
    const now = (await api.environment({ params })).running.map(({ id }) => id)
    return now.length === 2 && !now.includes(hung?.id ?? '') ? now : undefined
  })
  expect(after).toContain(well?.id)
  const { of } = await onRecord(kiln)
  expect(of('drift').map(({ body }) => [body.instance, body.cause])).toContainEqual([
    hung?.name,
    'unresponsive',
  ])
}, 150_000)

monorepoStory(() => kiln)

webhookStory(() => ({ kiln, forge }))
