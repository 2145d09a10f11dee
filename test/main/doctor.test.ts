import { once } from 'node:events'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/main/config.ts'
import { checkCertificates } from '../../src/main/doctor/certificates.ts'
import { atLeast, type Check } from '../../src/main/doctor/check.ts'
import { runDoctor, type DoctorDependencies } from '../../src/main/doctor/doctor.ts'
import { judgeEngine, judgeGuard } from '../../src/main/doctor/engine.ts'
import { judgeFileSystem, judgeSpace } from '../../src/main/doctor/machine.ts'
import { makeCertificate } from '../helpers/certificate.ts'
import { pathsOf } from '../../src/main/paths.ts'
import { freePort } from './supervisor/scratch.ts'

const path = process.env['PATH'] ?? ''

/**
 * A machine on which everything is in order, but for what the settings and `change` unplug, and for the programs
 * on PATH, which cost more to ask than all else: they are there where a test names its PATH.
 */
async function examine(
  settings: Record<string, string> = {},
  change: Partial<DoctorDependencies> = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'kiln-doctor-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const templates = join(folder, 'templates')
  mkdirSync(join(templates, 'base'), { recursive: true })
  writeFileSync(join(templates, 'base', 'template.yaml'), '')
  writeFileSync(join(templates, 'base', 'template.lock'), '')
  const standard = {
    KILN_HOME: join(folder, 'home'),
    KILN_TEMPLATES: templates,
    KILN_API_PORT: String(20_000 + (process.pid % 20_000)),
  }
  const checks = await runDoctor({
    config: loadConfig({ ...standard, ...settings }, '/'),
    environment: { PATH: '/nowhere' },
    nodeVersion: '24.1.0',
    now: () => new Date(),
    ...change,
  })
  return namedIn(checks)
}

function namedIn(checks: readonly Check[]) {
  return (name: string): Check => {
    const found = checks.find((check) => check.name === name)
    if (!found) throw new Error(`no check ${name}`)
    return found
  }
}

const programs = ['HAProxy', 'Temporal CLI', 'git', 'mmdebstrap', 'apt-ftparchive']
const others = ['Node', 'Docker Engine', 'disk space', 'path of the home', 'clock', 'templates']

test('on a machine that was set up nothing is missing', async () => {
  const of = await examine({}, { environment: { PATH: path } })
  for (const name of [...programs, ...others, 'ports']) {
    expect(of(name)).toMatchObject({ name, state: 'ok', fix: null })
  }
})

test('programs that are not on PATH are named, each with its fix', async () => {
  const of = await examine()
  for (const name of programs) {
    expect(of(name)).toMatchObject({ state: 'missing', found: 'not found' })
    expect(of(name).fix).toContain('scripts/setup.sh')
  }
})

test('a program that is too old is missing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kiln-doctor-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const old = '#!/bin/sh\necho "HAProxy version 2.2.9-1"\n'
  writeFileSync(join(folder, 'haproxy'), old, { mode: 0o755 })
  const of = await examine({}, { environment: { PATH: folder } })
  expect(of('HAProxy')).toMatchObject({ state: 'missing', found: '2.2.9' })
})

test('an old Node is missing', async () => {
  const of = await examine({}, { nodeVersion: '22.18.0' })
  expect(of('Node')).toMatchObject({ state: 'missing', found: '22.18.0', wanted: '24 or newer' })
})

test('an engine that does not answer is missing', async () => {
  const of = await examine({ DOCKER_HOST: 'unix:///nowhere/docker.sock' })
  expect(of('Docker Engine')).toMatchObject({ state: 'missing' })
  expect(of('Docker Engine').found).toContain('/nowhere/docker.sock')
  expect(of('Docker Engine').fix).toContain('DOCKER_HOST')
})

test('builds on the engine that runs instances are warned of, on their own one not', async () => {
  const shared = await examine()
  expect(shared('Docker Engine for builds')).toMatchObject({ state: 'warning' })
  const apart = await examine({ KILN_BUILD_DOCKER_HOST: 'unix:///run/docker.sock' })
  expect(apart('Docker Engine for builds').state).toBe('ok')
})

test('an engine that accepts and never answers is missing, and the doctor goes on', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kiln-doctor-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const mute = createServer().listen(join(folder, 'docker.sock'))
  onTestFinished(() => void mute.close())
  await once(mute, 'listening')
  const of = await examine({ DOCKER_HOST: `unix://${folder}/docker.sock` })
  expect(of('Docker Engine').state).toBe('missing')
})

test('an engine is judged by its version and by live-restore', () => {
  const old = judgeEngine('Docker Engine', { version: '19.03.8', liveRestore: true })
  expect(old).toMatchObject([{ state: 'missing' }, { state: 'ok' }])
  const bare = judgeEngine('Docker Engine', { version: '28.0.1', liveRestore: false })
  expect(bare).toMatchObject([{ state: 'ok' }, { state: 'warning' }])
  expect(bare[1]?.fix).toContain('live-restore')
})

test('an engine that does not ask the guard is warned of; one whose guard is away says what it says', async () => {
  const facts = { version: '28.0.1', liveRestore: true }
  expect(judgeGuard({ ...facts, guards: [] }, 'kiln')).toMatchObject({ state: 'warning' })
  expect(judgeGuard({ ...facts, guards: ['other'] }, 'kiln')).toMatchObject({ found: 'other' })
  expect(judgeGuard({ ...facts, guards: ['other', 'kiln'] }, 'kiln').state).toBe('ok')
  const folder = mkdtempSync(join(tmpdir(), 'kiln-doctor-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const message = 'plugin kiln failed with error'
  const engine = createHttpServer((_request, response) => {
    response.writeHead(500, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ message }))
  }).listen(join(folder, 'docker.sock'))
  onTestFinished(() => void engine.close())
  await once(engine, 'listening')
  const of = await examine({ DOCKER_HOST: `unix://${folder}/docker.sock` })
  expect(of('Docker Engine')).toMatchObject({ state: 'missing', found: message })
})

test('a given Temporal server is asked, the CLI is not wanted then', async () => {
  const address = `127.0.0.1:${await freePort()}`
  const of = await examine({ KILN_TEMPORAL_ADDRESS: address })
  expect(of('Temporal')).toMatchObject({ state: 'missing', wanted: `a server at ${address}` })
  expect(of('Temporal').fix).toContain('KILN_TEMPORAL_ADDRESS')
  expect(() => of('Temporal CLI')).toThrow('no check')
})

test('a port that another program took is named', async () => {
  const port = await freePort()
  const other = createServer().listen(port, '127.0.0.1')
  onTestFinished(() => void other.close())
  await once(other, 'listening')
  const of = await examine({ KILN_REGISTRY_PORT: String(port) })
  expect(of('ports')).toMatchObject({ state: 'missing', found: `taken: ${port} (registry)` })
})

/** A folder of certificates with these files, and a home whose edge routes these hosts. */
async function examineTls(
  files: Readonly<Record<string, string>>,
  change: { hosts?: readonly string[]; mode?: number; now?: Date } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'kiln-doctor-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const [tls, home] = [join(folder, 'tls'), join(folder, 'home')]
  mkdirSync(tls)
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(tls, name), text, { mode: change.mode ?? 0o600 })
  mkdirSync(join(home, 'edge'), { recursive: true })
  writeFileSync(join(home, 'edge', 'state.json'), JSON.stringify(routing(change.hosts ?? [])))
  return namedIn(
    await checkCertificates({ tlsFolder: tls, paths: pathsOf(home) }, change.now ?? new Date()),
  )
}

/** The edge's state with a route for each host. */
const routing = (hosts: readonly string[]) => ({
  version: 1,
  environments: hosts.map((host, n) => ({
    environment: `app${n}/prod`,
    port: 8000 + n,
    servers: [
      {
        name: `i${n}`,
        address: '10.0.0.1',
        port: 80,
        path: '/ready',
        intervalMs: 100,
        route: { host },
        drainMs: 1,
        state: 'ready',
      },
    ],
  })),
})

describe('certificates of the entrance', () => {
  const shop = 'shop.example.test'
  const day = 86_400_000

  test('one that fits and lasts is in order; one that ends soon is warned of', async () => {
    const lasting = await makeCertificate([shop], undefined, 90)
    const of = await examineTls({ [`${shop}.pem`]: lasting.both }, { hosts: [shop] })
    expect(of(`certificate ${shop}`)).toMatchObject({ state: 'ok', fix: null })
    const ending = await makeCertificate([shop], undefined, 13)
    const soon = await examineTls({ [`${shop}.pem`]: ending.both })
    expect(soon(`certificate ${shop}`)).toMatchObject({ state: 'warning' })
    expect(soon(`certificate ${shop}`).fix).toContain(`renew it: put the new one into ${shop}.pem`)
  })

  test('what is wrong with a file is named with its rule and the fix, and no line of it', async () => {
    const [one, other] = [await makeCertificate([shop]), await makeCertificate(['other.test'])]
    const pem = `${shop}.pem`
    const table: [string, Record<string, string>, Parameters<typeof examineTls>[1], RegExp][] = [
      ['expired', { [pem]: one.both }, { now: new Date(Date.now() + 2 * day) }, /renew it/],
      ['not-yet-valid', { [pem]: one.both }, { now: new Date(Date.now() - day) }, /clock/],
      ['mismatched', { [pem]: one.certificate + other.key }, {}, /the certificate was made for/],
      ['wrong-host', { [pem]: other.both }, {}, /names the host/],
      ['no-key', { [`${shop}.crt`]: one.certificate }, {}, /<host>\.key/],
      ['no-certificate', { [pem]: 'half a fi' }, {}, /as PEM/],
      ['two-files', { [pem]: one.both, [`${shop}.crt`]: one.certificate }, {}, /keep either/],
      ['open-to-all', { [pem]: one.both }, { mode: 0o644 }, /chmod/],
    ]
    for (const [rule, files, change, fix] of table) {
      const check = (await examineTls(files, change))(`certificate ${shop}`)
      expect([rule, check]).toMatchObject([rule, { state: 'missing' }])
      expect(check.found).toMatch(new RegExp(`^${rule}: `))
      expect(check.fix).toMatch(fix)
      expect(JSON.stringify(check)).not.toContain(one.key.slice(40, 60))
    }
  })

  test('a file that is no file, a folder that is not there, and an empty one', async () => {
    const of = await examineTls({})
    expect(of('certificates')).toMatchObject({ state: 'warning' })
    const paths = pathsOf('/nowhere/home')
    const none = namedIn(await checkCertificates({ tlsFolder: '/nowhere/tls', paths }, new Date()))
    expect(none('certificates')).toMatchObject({ state: 'missing' })
    expect(none('certificates').fix).toContain('mkdir -p /nowhere/tls')
    expect(await checkCertificates({ tlsFolder: undefined, paths }, new Date())).toEqual([])
    const folder = mkdtempSync(join(tmpdir(), 'kiln-doctor-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    mkdirSync(join(folder, `${shop}.pem`), { mode: 0o700 })
    // By the doctor as a whole.
    const odd = await examine({ KILN_TLS_FOLDER: folder })
    expect(odd(`certificate ${shop}`).found).toMatch(/^unreadable: /)
  })

  test('a host that a route names and no certificate covers is missing; a wildcard covers', async () => {
    const wild = await makeCertificate(['*.example.test'], undefined, 90)
    const of = await examineTls(
      { '_.example.test.pem': wild.both },
      { hosts: [shop, 'api.other.test'] },
    )
    expect(of('certificate api.other.test')).toMatchObject({ state: 'missing' })
    expect(of('certificate api.other.test').fix).toContain('put api.other.test.pem')
    expect(() => of(`certificate ${shop}`)).toThrow('no check')
  })

  test('the port of TLS is one of those that must be free', async () => {
    const port = await freePort()
    const other = createServer().listen(port, '127.0.0.1')
    onTestFinished(() => void other.close())
    await once(other, 'listening')
    const of = await examine({ KILN_TLS_FOLDER: '/nowhere', KILN_TLS_PORT: String(port) })
    expect(of('ports')).toMatchObject({ state: 'missing', found: `taken: ${port} (tls)` })
  })
})

test('too little space, and file systems that lose things, are seen', () => {
  const gibibyte = 1024 ** 3
  expect(judgeSpace(1.9 * gibibyte, 2 * gibibyte)).toMatchObject({
    state: 'missing',
    found: '1.9 GiB free',
    fix: expect.stringContaining('kiln prune'),
  })
  expect(judgeSpace(2 * gibibyte, 2 * gibibyte).state).toBe('warning')
  expect(judgeSpace(4 * gibibyte, 2 * gibibyte).state).toBe('ok')
  expect(judgeFileSystem('/h', 0x6969)).toMatchObject({ state: 'warning', found: 'NFS' })
  expect(judgeFileSystem('/h', 0xef53).state).toBe('ok')
})

test('a home whose sockets would have too long a path is refused', async () => {
  const of = await examine({ KILN_HOME: `/tmp/${'x'.repeat(80)}` })
  expect(of('path of the home')).toMatchObject({ state: 'missing', found: '85 bytes' })
})

test('a clock before Kiln’s own files is wrong', async () => {
  const of = await examine({}, { now: () => new Date('1999-12-31T00:00:00Z') })
  expect(of('clock')).toMatchObject({ state: 'missing', found: '1999-12-31T00:00:00.000Z' })
})

test('a template without a lock, and a folder without templates, are missing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kiln-doctor-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const none = await examine({ KILN_TEMPLATES: folder })
  expect(none('templates')).toMatchObject({ state: 'missing', found: `none in ${folder}` })
  mkdirSync(join(folder, 'web'))
  writeFileSync(join(folder, 'web', 'template.yaml'), '')
  const unlocked = await examine({ KILN_TEMPLATES: folder })
  expect(unlocked('templates')).toMatchObject({
    state: 'missing',
    found: 'without a lock: web',
    fix: 'kiln template lock web',
  })
})

test.each([
  ['2.6.12', '2.4', true],
  ['2.4', '2.4', true],
  ['2.3.9', '2.4', false],
  ['10.0', '9.9', true],
  ['20.10.24+dfsg1', '20.10', true],
  ['an unknown version', '1.0', false],
])('version %s is at least %s: %s', (found, wanted, expected) => {
  expect(atLeast(found, wanted)).toBe(expected)
})
