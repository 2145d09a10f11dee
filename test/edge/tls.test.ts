import { execa } from 'execa'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { connect, type ConnectionOptions } from 'node:tls'
import { pino } from 'pino'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Definition } from '../../src/domain/definition.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { judgeCertificate } from '../../src/edge/certificate.ts'
import { openEdge } from '../../src/edge/edge.ts'
import type { Entrance } from '../../src/edge/entrance.ts'
import {
  lookAtCertificates,
  readCertificateReport,
  type CertificateReport,
  type Memory,
} from '../../src/edge/watch-certificates.ts'
import { makeCertificate, type MadeCertificate } from '../helpers/certificate.ts'
import { freePort } from '../helpers/free-port.ts'
import { defined, effectOf, until } from '../runtime/host-at-hand.ts'
import { edgeAtHand, type EdgeAtHand } from './edge-at-hand.ts'
import { namedService, sendRaw, type NamedService } from './service-at-hand.ts'

const shop = 'shop.example.test'
const now = () => new Date()
let made: { shop: MadeCertificate; renewed: MadeCertificate; other: MadeCertificate }

beforeAll(async () => {
  const [one, renewed, other] = await Promise.all([
    makeCertificate([shop]),
    makeCertificate([shop]),
    makeCertificate(['other.example.test', '*.wild.example.test']),
  ])
  made = { shop: one, renewed, other }
})

function judge(name: string, pem: string, at = now()): string {
  const judged = judgeCertificate(name, pem, at)
  return judged.kind === 'good' ? 'good' : judged.fault
}

describe('what is refused, with its rule', () => {
  test('a certificate, its key and its host belong together, and its time is now', async () => {
    const day = 86_400_000
    const rsa = ['-newkey', 'rsa:1024']
    const table: [string, string, string, Date?][] = [
      ['good', shop, made.shop.both],
      ['good', shop, `${made.shop.key}\n${made.shop.certificate}`],
      ['good', 'other.example.test', made.other.both],
      ['good', '_.wild.example.test', made.other.both],
      ['wrong-host', 'wild.example.test', made.other.both],
      ['wrong-host', shop, made.other.both],
      ['wrong-host', shop, (await makeCertificate([])).both],
      ['mismatched', shop, made.shop.certificate + made.renewed.key],
      ['no-key', shop, made.shop.certificate],
      ['no-key', shop, made.shop.certificate + made.shop.key.replace(/MI\S{20}/, '')],
      ['no-certificate', shop, made.shop.key],
      ['no-certificate', shop, made.shop.both.replace('MII', 'AAA')],
      ['no-certificate', shop, ''],
      ['weak-key', shop, (await makeCertificate([shop], rsa)).both],
      ['expired', shop, made.shop.both, new Date(Date.now() + 2 * day)],
      ['not-yet-valid', shop, made.shop.both, new Date(Date.now() - day)],
      ['no-host-name', 'shop example', made.shop.both],
    ]
    const found = table.map(([, name, pem, at]) => judge(name, pem, at))
    expect(found).toEqual(table.map(([wanted]) => wanted))
  })

  test('a key with a passphrase, and no fault that repeats a line of a file', async () => {
    const { stdout } = await execa('openssl', ['pkcs8', '-topk8', '-passout', 'pass:x'], {
      input: made.shop.key,
    })
    const judged = judgeCertificate(shop, made.shop.certificate + stdout, now())
    expect(judged).toMatchObject({ kind: 'refused', fault: 'protected-key' })
    expect(JSON.stringify(judged)).not.toContain(made.shop.key.slice(40, 60))
  })
})

let folder: string
let given: string
let entrance: Entrance & { tls: NonNullable<Entrance['tls']> }
let edge: EdgeAtHand
let service: NamedService
let lines: string[]
let memory: Memory
const definitions = new Map<Digest, Definition>()

async function look(at = now()): Promise<CertificateReport[]> {
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const report = join(folder, 'certificates.json')
  const own = openEdge({ paths: edge.paths, entrance }, () => undefined)
  await lookAtCertificates(
    { edge: own, tls: entrance.tls, folder: given, report, logger, now: () => at },
    memory,
  )
  return readCertificateReport(report)
}

async function give(name: string, text: string): Promise<void> {
  await writeFile(join(given, name), text, { mode: 0o600 })
}

async function opened(change: Partial<Entrance['tls']> = {}): Promise<void> {
  folder = await mkdtemp('/tmp/kiln-tls-')
  given = join(folder, 'given')
  await mkdir(given)
  lines = []
  memory = { said: new Map(), goneSince: new Map(), written: '' }
  const tls = {
    port: await freePort(),
    folder: join(folder, 'tls'),
    redirect: false,
    hstsSeconds: null,
    ...change,
  }
  entrance = { address: '127.0.0.1', port: await freePort(), tls }
  edge = await edgeAtHand(definitions, { entrance })
  service = await namedService('shop')
  const { digest, body } = defined({ route: { host: shop } })
  definitions.set(digest, body)
  const effect = { ...effectOf(1), definition: digest }
  await edge.activities.ensureEnvironment(effect)
  await edge.activities.joinEdge({ ...effect, instances: [service.endpoint] })
}

beforeEach(() => opened())
afterEach(closeAll)

async function closeAll(): Promise<void> {
  service.close()
  await edge.close()
  await rm(folder, { recursive: true, force: true })
}

/** The certificate that a client is shown for a name, or the reason why it gets none. */
async function shown(servername: string, more: ConnectionOptions = {}): Promise<string> {
  const at = { host: '127.0.0.1', port: entrance.tls.port, servername, rejectUnauthorized: false }
  const socket = connect({ ...at, ...more })
  try {
    await once(socket, 'secureConnect')
    return `${socket.getPeerX509Certificate()?.fingerprint256}`
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'no reason'
  } finally {
    socket.destroy()
  }
}

const noCertificate = 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME'
const printOf = ({ certificate }: MadeCertificate) =>
  new X509Certificate(certificate).fingerprint256

type Answer = { status: number; body: string; headers: Record<string, unknown>; reused: boolean }

function ask(agent: Agent, host = shop, servername = host): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: entrance.tls.port,
      servername,
      agent,
      headers: { host },
      rejectUnauthorized: false,
    }
    const sending = request({ ...options, path: '/' }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (part: string) => (body += part))
      response.once('error', reject).once('end', () => {
        const { statusCode: status = 0, headers } = response
        resolve({ status, body, headers, reused: sending.reusedSocket })
      })
    })
    sending.once('error', reject).end()
  })
}

test('each name gets its own certificate, a name without one gets none of another app', async () => {
  expect(await shown(shop)).toBe(noCertificate)
  await give(`${shop}.pem`, made.shop.both)
  await give('other.example.test.crt', made.other.certificate)
  await give('other.example.test.key', made.other.key)
  const report = await look()
  expect(report.map(({ name, fault }) => [name, fault])).toEqual([
    ['other.example.test', null],
    [shop, null],
  ])
  expect(await shown(shop)).toBe(printOf(made.shop))
  expect(await shown('other.example.test')).toBe(printOf(made.other))
  expect(await shown('a.wild.example.test')).toBe(printOf(made.other))
  expect(await shown('nobody.example.test')).toBe(noCertificate)
  expect(
    await shown(shop, {
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    }),
  ).toMatch(/ALERT|VERSION/)
  expect(await shown(shop, { maxVersion: 'TLSv1.2' })).toBe(printOf(made.shop))
  // Plain HTTP stays.
  expect((await sendRaw(entrance.port, `GET / HTTP/1.1\r\nHost: ${shop}`)).body).toBe('shop')
})

test('a connection serves the host that its certificate was chosen for', async () => {
  await give(`${shop}.pem`, made.shop.both)
  await give('other.example.test.pem', made.other.both)
  await look()
  const agent = new Agent()
  expect(await ask(agent)).toMatchObject({ status: 200, body: 'shop' })
  expect(await ask(agent, shop, 'other.example.test')).toMatchObject({ status: 421 })
  expect(await ask(agent, 'other.example.test')).toMatchObject({ status: 404 })
})

test('renewed five times under load: keep-alive clients lose nothing, new ones see the new one', async () => {
  await give(`${shop}.pem`, made.shop.both)
  await look()
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  const counts = { ok: 0, reused: 0, failed: [] as string[] }
  const ending = { now: false }
  const client = async () => {
    while (!ending.now) {
      try {
        const { status, body, reused } = await ask(agent)
        if (status === 200 && body === 'shop') counts.ok++
        else counts.failed.push(`${status}`)
        if (reused) counts.reused++
      } catch (error) {
        counts.failed.push(String(error))
      }
    }
  }
  const clients = Array.from({ length: 4 }, client)
  for (let turn = 0; turn < 5; turn++) {
    const next = turn % 2 === 0 ? made.renewed : made.shop
    const before = counts.ok
    await give(`${shop}.pem`, next.both)
    await look()
    expect(await shown(shop)).toBe(printOf(next))
    await until(() => counts.ok > before + 50)
  }
  ending.now = true
  await Promise.all(clients)
  agent.destroy()
  expect(counts.failed).toEqual([])
  expect(counts.reused).toBeGreaterThan(counts.ok / 2)
})

test('a bad certificate is refused with its rule, and the earlier one stays, over a restart too', async () => {
  await give(`${shop}.pem`, made.shop.both)
  await look()
  const bad: [string, string][] = [
    ['no-certificate', 'half a fi'],
    ['mismatched', made.renewed.certificate + made.shop.key],
    ['wrong-host', made.other.both],
    ['no-key', made.renewed.certificate],
  ]
  for (const [rule, text] of bad) {
    await give(`${shop}.pem`, text)
    const [report] = await look()
    expect(report).toMatchObject({ name: shop, hosts: [shop], fault: { rule } })
    expect(await shown(shop)).toBe(printOf(made.shop))
  }
  await give(`${shop}.pem`, made.renewed.both)
  await chmod(join(given, `${shop}.pem`), 0o644)
  expect((await look())[0]?.fault?.rule).toBe('open-to-all')
  await rm(join(given, `${shop}.pem`))
  await edge.kill()
  await edge.start()
  expect(await shown(shop)).toBe(printOf(made.shop))
  // Its file is away for a minute: now it is meant.
  await look()
  expect((await look(new Date(Date.now() + 61_000))).length).toBe(0)
  expect(await shown(shop)).toBe(noCertificate)
})

test('one that ran out is said to have, and is served until it is renewed', async () => {
  await give(`${shop}.pem`, made.shop.both)
  await look()
  const [report] = await look(new Date(Date.now() + 2 * 86_400_000))
  expect(report?.fault?.rule).toBe('expired')
  expect(await shown(shop)).toBe(printOf(made.shop))
})

test('the key is in no log, no state and no report, and what HAProxy reads is the owner’s alone', async () => {
  await give(`${shop}.pem`, made.shop.both)
  await look()
  await give(`${shop}.pem`, made.renewed.certificate + made.shop.key)
  await look()
  const secret = made.shop.key.split('\n')[1] ?? 'none'
  const texts = [lines.join('\n'), await readFile(join(folder, 'certificates.json'), 'utf8')]
  for (const file of ['state.json', 'haproxy.cfg', 'routes.map', 'hosts.map']) {
    texts.push(await readFile(join(edge.paths.config, '..', file), 'utf8'))
  }
  for (const text of texts) expect(text).not.toContain(secret)
  expect(lines.join('\n')).toContain('the key belongs to another certificate')
  const [file = ''] = await readdir(entrance.tls.folder)
  // The control: it is where it must be, and nobody else may read it.
  expect(await readFile(join(entrance.tls.folder, file), 'utf8')).toContain(secret)
  expect((await stat(join(entrance.tls.folder, file))).mode & 0o077).toBe(0)
})

test('what HAProxy could not load is left out before it starts', async () => {
  await give(`${shop}.pem`, made.shop.both)
  await look()
  await edge.kill()
  await writeFile(join(entrance.tls.folder, 'broken.example.test.pem'), 'half a fi')
  await edge.start()
  expect(await shown(shop)).toBe(printOf(made.shop))
})

test('redirect and HSTS are there when they were asked for', async () => {
  await give(`${shop}.pem`, made.shop.both)
  await look()
  const plain = await ask(new Agent())
  expect(plain.headers['strict-transport-security']).toBeUndefined()
  await closeAll()
  await opened({ redirect: true, hstsSeconds: 3600 })
  await give(`${shop}.pem`, made.shop.both)
  await look()
  const { headers } = await ask(new Agent())
  expect(headers['strict-transport-security']).toBe('max-age=3600')
  const led = await sendRaw(entrance.port, `GET /a?b=1 HTTP/1.1\r\nHost: ${shop}:80`)
  expect(led.status).toBe(308)
  expect(led.headers).toContain(`location: https://${shop}:${entrance.tls.port}/a?b=1`)
  expect((await sendRaw(entrance.port, 'GET / HTTP/1.1\r\nHost: nobody.test')).status).toBe(404)
})
