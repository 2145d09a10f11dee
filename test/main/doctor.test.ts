import { once } from 'node:events'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/main/config.ts'
import { atLeast } from '../../src/main/doctor/check.ts'
import { runDoctor, type DoctorDependencies } from '../../src/main/doctor/doctor.ts'
import { judgeEngine } from '../../src/main/doctor/engine.ts'
import { judgeFileSystem, judgeSpace } from '../../src/main/doctor/machine.ts'
import { freePort } from './supervisor/scratch.ts'

const path = process.env['PATH'] ?? ''

/** A machine on which everything is in order, but for what the settings and `change` unplug. */
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
    environment: { PATH: path },
    nodeVersion: '24.1.0',
    now: () => new Date(),
    ...change,
  })
  return (name: string) => {
    const found = checks.find((check) => check.name === name)
    if (!found) throw new Error(`no check ${name}`)
    return found
  }
}

const programs = ['HAProxy', 'Temporal CLI', 'git', 'mmdebstrap', 'apt-ftparchive']
const others = ['Node', 'Docker Engine', 'disk space', 'path of the home', 'clock', 'templates']

test('on a machine that was set up nothing is missing', async () => {
  const of = await examine()
  for (const name of [...programs, ...others, 'ports']) {
    expect(of(name)).toMatchObject({ name, state: 'ok', fix: null })
  }
})

test('programs that are not on PATH are named, each with its fix', async () => {
  const of = await examine({}, { environment: { PATH: '/nowhere' } })
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
  const of = await examine({}, { environment: { PATH: `${folder}:${path}` } })
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
