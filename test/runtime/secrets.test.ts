import { execFile } from 'node:child_process'
import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { removeEnvironment } from '../../src/runtime/instances.ts'
import { memoryFolder, openSecretFiles } from '../../src/runtime/secret-files.ts'
import {
  fileSecrets,
  secretActivities,
  environmentSecrets,
} from '../../src/runtime/secret-source.ts'
import {
  codeOf,
  containersOf,
  docker,
  effectOf,
  environment,
  hostAtHand,
  inspect,
  startOf,
  type HostAtHand,
} from './host-at-hand.ts'

const value = `canary-${crypto.randomUUID()}`
const other = `canary-${crypto.randomUUID()}`

async function errorOf(work: Promise<unknown>): Promise<KilnError> {
  const error: unknown = await work.then(
    () => new Error('nothing was thrown'),
    (thrown: unknown) => thrown,
  )
  if (error instanceof KilnError) return error
  throw error
}

describe('an instance', () => {
  let host: HostAtHand
  let epoch = 0

  beforeAll(async () => {
    host = await hostAtHand()
    await mkdir(host.secretFolder, { mode: 0o700 })
    host.variables['KILN_SECRET_UPSTREAM'] = other
  }, 60_000)
  beforeEach(() => writeFile(join(host.secretFolder, 'db-password'), value, { mode: 0o600 }))
  afterEach(() => removeEnvironment(host.engine, environment))
  afterAll(() => host.close())

  async function request(secrets: Record<string, string>, count = 2) {
    const digest = await host.artifact({ VERSION: 'a' })
    return startOf(++epoch, { digest, definition: host.define({ secrets }), count })
  }

  const both = { DB_PASSWORD: 'file:db-password', TOKEN: 'env:UPSTREAM' }

  test('reads its secrets as files in memory that are its own, and the engine knows only where', async () => {
    const asked = await request(both)
    const { instances } = await host.activities.startInstances(asked)
    const [first, second] = instances
    const read = await runIn(String(first?.id), readSecrets)
    expect(JSON.parse(read)).toEqual({
      names: ['DB_PASSWORD', 'TOKEN'],
      values: [value, other],
      modes: ['400', '400', '700'],
      owners: [901, 901, 901],
      // Of statfs(2): tmpfs.
      type: 0x01021994,
      written: 'EROFS',
    })
    for (const { id } of instances) {
      const told = JSON.stringify(await inspect(id))
      expect(told).toContain('/run/secrets')
      expect(told).not.toContain(value)
      expect(told).not.toContain(other)
    }
    const given = await readdir(host.givenFolder)
    expect(given.toSorted()).toEqual([first?.name, second?.name])
    expect((await stat(host.givenFolder)).mode & 0o777).toBe(0o700)
  })

  test('an instance without secrets has no such mount, and nothing is made in memory', async () => {
    const digest = await host.artifact({ VERSION: 'a' })
    const asked = startOf(++epoch, { digest, definition: host.define(), count: 1 })
    const { instances } = await host.activities.startInstances(asked)
    expect((await inspect(String(instances[0]?.id))).Mounts).toEqual([])
  })

  test('what an instance was given goes with it, and only that', async () => {
    const { instances } = await host.activities.startInstances(await request(both))
    const keep = instances.slice(0, 1).map((one) => one.name)
    await host.activities.stopInstances({ ...effectOf(epoch), keep })
    expect(await readdir(host.givenFolder)).toEqual(keep)
    await host.activities.stopInstances({ ...effectOf(epoch), keep: [] })
    expect(await readdir(host.givenFolder)).toEqual([])
  })

  test('one that was removed by hand leaves its secrets only until the next change', async () => {
    const { instances } = await host.activities.startInstances(await request(both, 1))
    await docker.getContainer(String(instances[0]?.id)).remove({ force: true })
    await host.activities.stopInstances({ ...effectOf(epoch), keep: [] })
    expect(await readdir(host.givenFolder)).toEqual([])
  })

  test('the same start again finds the same instances; new values are for new instances', async () => {
    const asked = await request(both)
    const { instances } = await host.activities.startInstances(asked)
    await writeFile(join(host.secretFolder, 'db-password'), 'rotated')
    expect(await host.activities.startInstances(asked)).toEqual({ instances })
    expect(await runIn(String(instances[0]?.id), readSecrets)).toContain(value)
    const next = await request(both, 1)
    const rotated = await host.activities.startInstances({
      ...next,
      keep: instances.map((one) => one.name),
    })
    expect(await runIn(String(rotated.instances[0]?.id), readSecrets)).toContain('rotated')
  })

  test('an instance whose secrets a reboot took is made anew, not started without them', async () => {
    const asked = await request(both, 1)
    const { instances } = await host.activities.startInstances(asked)
    await docker.getContainer(String(instances[0]?.id)).kill()
    await rm(host.givenFolder, { recursive: true })
    const again = await host.activities.startInstances(asked)
    expect(again.instances[0]?.id).not.toBe(instances[0]?.id)
    expect(await runIn(String(again.instances[0]?.id), readSecrets)).toContain(value)
  })

  test('a secret that the host has not got: nothing is pulled or made, and the error says what to do', async () => {
    const digest = await host.artifact({ VERSION: 'never pulled' })
    const definition = host.define({
      secrets: { ...both, MISSING: 'file:not-there', GONE: 'env:GONE' },
    })
    const asked = startOf(++epoch, { digest, definition })
    const error = await errorOf(host.activities.startInstances(asked))
    expect(error).toMatchObject({
      code: 'secret_unavailable',
      place: 'file:not-there',
      message: expect.stringMatching(/^MISSING: .*not-there is not there \(and 1 more\)$/),
      fix: expect.stringContaining('not-there'),
    })
    expect(error.lines).toHaveLength(2)
    expect(error.lines[1]).toBe("GONE (env:GONE): the host's worker has no KILN_SECRET_GONE")
    const { message, fix, lines, stack } = error
    expect(JSON.stringify({ message, fix, lines, stack })).not.toContain('canary')
    expect(await containersOf(host)).toEqual([])
    const reference = `${host.images.registry.address}/hello@${digest}`
    await expect(docker.getImage(reference).inspect()).rejects.toThrow('No such image')
  })
})

const readSecrets = `
  const fs = require('node:fs'), at = '/run/secrets'
  const names = fs.readdirSync(at)
  const stats = [...names.map((name) => at + '/' + name), at].map((path) => fs.statSync(path))
  let written = 'yes'
  try { fs.writeFileSync(at + '/X', 'x') } catch (error) { written = error.code }
  console.log(JSON.stringify({
    names, values: names.map((name) => fs.readFileSync(at + '/' + name, 'utf8')),
    modes: stats.map((one) => (one.mode & 0o777).toString(8)), owners: stats.map((one) => one.uid),
    type: fs.statfsSync(at).type, written,
  }))`

async function runIn(container: string, script: string): Promise<string> {
  const found = await inspect(container)
  const node = found.Config.Cmd?.[0] ?? found.Config.Entrypoint?.[0] ?? 'node'
  const { stdout } = await promisify(execFile)('docker', ['exec', container, node, '-e', script])
  return stdout
}

describe('files of secrets', () => {
  let folder: string
  const read = (name: string) => fileSecrets(folder).read(name)

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kiln-secrets-'))
    await writeFile(join(folder, 'good'), value, { mode: 0o600 })
  })
  afterEach(() => rm(folder, { recursive: true }))

  test('are read byte for byte', async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 10])
    await writeFile(join(folder, 'bytes'), bytes, { mode: 0o400 })
    expect(await read('bytes')).toEqual(bytes)
  })

  test.each<[string, () => Promise<unknown>, RegExp]>([
    ['missing', async () => undefined, /bad is not there/],
    ['readable to the group', () => writeBad(0o640), /has mode 0640/],
    ['writable by others', () => writeBad(0o602), /has mode 0602/],
    ['empty', () => writeBad(0o600, ''), /is empty/],
    ['too large', () => writeBad(0o600, 'x'.repeat(64 * 1024 + 1)), /larger than 64 KiB/],
    ['a link out', () => symlink('/etc/shadow', join(folder, 'bad')), /is a link/],
    ['a link within', () => symlink('good', join(folder, 'bad')), /is a link/],
    ['a folder', () => mkdir(join(folder, 'bad'), { mode: 0o700 }), /is no file/],
    [
      'a fifo',
      () => promisify(execFile)('mkfifo', ['-m', '600', join(folder, 'bad')]),
      /is no file/,
    ],
    [
      'a file of another user',
      () =>
        writeBad(0o600).then(() => promisify(execFile)('chown', ['12345', join(folder, 'bad')])),
      /belongs to user 12345/,
    ],
  ])('%s: refused, and no value in the message', async (_what, make, message) => {
    await make()
    const error = await errorOf(read('bad'))
    expect(error.code).toBe('secret_unavailable')
    expect(error.message).toMatch(message)
    expect(error.fix).toMatch(/\S/)
  })

  async function writeBad(mode: number, content = value): Promise<void> {
    await writeFile(join(folder, 'bad'), content)
    await chmod(join(folder, 'bad'), mode)
  }

  test('a folder that others may enter is refused', async () => {
    await chmod(folder, 0o750)
    const error = await errorOf(read('good'))
    expect(error).toMatchObject({
      code: 'secret_unavailable',
      fix: expect.stringContaining('chmod 0700'),
    })
  })

  test('a hard link is a file like any other', async () => {
    await link(join(folder, 'good'), join(folder, 'second'))
    expect(String(await read('second'))).toBe(value)
  })
})

test('the state of each reference says yes or no, why, and never a value', async () => {
  const { checkSecrets } = secretActivities({
    sources: {
      file: fileSecrets('/nonexistent'),
      env: environmentSecrets({ KILN_SECRET_A: value }),
    },
  })
  const { secrets } = await checkSecrets({ secrets: { A: 'env:A', B: 'file:b', C: 'sealed:c' } })
  expect(secrets).toMatchObject([
    { name: 'A', reference: 'env:A', resolves: true, problem: null },
    { name: 'B', resolves: false, problem: '/nonexistent is not there' },
    { name: 'C', resolves: false, problem: 'it is no reference' },
  ])
  expect(JSON.stringify(secrets)).not.toContain(value)
})

describe('the folder that instances are given', () => {
  const given = {
    instance: 'kiln.a.b.1.1',
    values: new Map([['A', Buffer.from(value)]]),
    user: '901',
  }
  let folder: string

  beforeEach(async () => {
    folder = join(await mkdtemp(join(memoryFolder(), 'kiln-test-')), 'own')
  })
  afterEach(() => rm(join(folder, '..'), { recursive: true, force: true }))

  test('on a disk is refused', async () => {
    const disk = await mkdtemp(join(tmpdir(), 'kiln-disk-'))
    const files = openSecretFiles(join(disk, 'own'))
    expect(await errorOf(files.place(given))).toMatchObject({
      code: 'secret_unavailable',
      message: expect.stringContaining('is on a disk'),
    })
    await rm(disk, { recursive: true })
  })

  test.each<[string, () => Promise<unknown>]>([
    ['of a mode that lets others in', () => mkdir(folder, { mode: 0o755 })],
    ['that is a link to elsewhere', () => symlink('/dev/shm', folder)],
    [
      'of another user',
      () =>
        mkdir(folder, { mode: 0o700 }).then(() => promisify(execFile)('chown', ['12345', folder])),
    ],
  ])('that somebody made before, %s, is refused', async (_what, make) => {
    await make()
    expect(await codeOf(openSecretFiles(folder).place(given))).toBe('secret_unavailable')
  })

  test('is whole or not there: what an attempt left half done is replaced', async () => {
    await mkdir(join(folder, `${given.instance}.new`), { recursive: true, mode: 0o700 })
    await chmod(folder, 0o700)
    await writeFile(join(folder, `${given.instance}.new`, 'OLD'), 'half')
    const files = openSecretFiles(folder)
    expect(await files.find(given.instance)).toBeNull()
    const placed = await files.place(given)
    expect(await readdir(placed)).toEqual(['A'])
    await files.removeOthers('kiln.a.', [])
    expect(await readdir(folder)).toEqual([])
  })
})
