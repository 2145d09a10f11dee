import { spawn, type ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { changeGreeting, makeRepository, type Repository } from '../../scripts/demo/repository.ts'
import { root } from '../../scripts/demo/kiln.ts'
import type { Client } from '../../src/api/client.ts'
import { createDocker } from '../../src/docker/client.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import { copyLocked } from '../helpers/copy-locked.ts'
import { ownDocker, type OwnDocker } from '../helpers/own-docker.ts'
import { startGateway, type Gateway } from '../helpers/s3-gateway.ts'
import { delivered, eventually, followed, kilnAtHand } from './kiln-at-hand.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'
import { processesOf } from './processes-of.ts'
import { containersOf, onRecord } from './record.ts'

let engine: OwnDocker
let gateway: Gateway
let credentials: string
/** Where the bucket's objects lie. */
let objects: string
let kiln: KilnAtHand
let api: Client
let repository: Repository
let watched: Repository
let backup: string
let passphraseFile: string

/** All of it on a bucket: it outlives the machine. That a folder does as well is `test/main/backup.test.ts`. */
beforeAll(async () => {
  engine = await ownDocker()
  gateway = await startGateway()
  const settings = gateway.settings()
  const { accessKeyId, secretAccessKey } = settings
  credentials = await mkdtemp(join(tmpdir(), 'kiln-s3-'))
  const file = join(credentials, 's3.json')
  await writeFile(file, JSON.stringify({ accessKeyId, secretAccessKey }), { mode: 0o600 })
  kiln = await kilnAtHand({
    DOCKER_HOST: `unix://${engine.socketPath}`,
    KILN_STORE: `s3://${settings.bucket}/${settings.prefix}`,
    KILN_S3_ENDPOINT: settings.endpoint,
    KILN_S3_CREDENTIALS: file,
  })
  objects = join(gateway.objects, settings.prefix)
  await copyLocked(join(kiln.home, 'store'), openS3Store(settings))
  await rm(join(kiln.home, 'store'), { recursive: true })
  backup = join(kiln.folder, 'backup')
  passphraseFile = join(kiln.folder, 'passphrase')
  const passphrase = kiln.plant('backup passphrase', 'correct horse battery staple')
  await writeFile(passphraseFile, `${passphrase}\n`, { mode: 0o600 })
  await kiln.up()
  api = await kiln.api()
  repository = await kiln.repository()
  await withoutDependencies()
  await promoted('test', await delivery('first'))
  await watchAnother()
}, 240_000)

afterAll(async () => {
  try {
    await kiln.remove({ store: objects, isDown: true })
  } finally {
    await engine.close()
    await gateway.stop()
    await rm(credentials, { recursive: true, force: true })
  }
}, 120_000)

/** A second app, which is only ever delivered by a watch. */
async function watchAnother(): Promise<void> {
  watched = await makeRepository(join(kiln.folder, 'watched'), repository.path)
  const path = join(watched.path, 'kiln.yaml')
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace(/^app: .*$/m, 'app: watched'))
  const commit = await watched.commit('first')
  await api.startWatch({ body: { repository: watched.path } })
  await atDev(commit)
}

/** The next commit reaches dev, and nobody did anything but commit. */
async function watchDelivers(greeting: string): Promise<void> {
  await changeGreeting(watched, greeting)
  await atDev(await watched.commit(greeting))
}

function atDev(commit: string): Promise<true> {
  return eventually(`${commit} is delivered`, 180, async () => {
    const { items } = await (await kiln.api()).environments({})
    const dev = items.find((one) => one.name === 'watched/dev')
    return dev?.active?.commit === commit && dev.open === null ? true : undefined
  })
}

/** The engine of this test reaches no registry: the service goes without its one package. */
async function withoutDependencies(): Promise<void> {
  await edit('server.js', (text) =>
    text.replace("import ms from 'ms'", 'const ms = Number.parseFloat'),
  )
  for (const file of ['package.json', 'package-lock.json']) {
    await edit(file, (text) => {
      const json = JSON.parse(text) as { dependencies?: object; packages?: Record<string, object> }
      delete json.dependencies
      if (json.packages !== undefined) json.packages = { '': { name: 'hello', version: '1.0.0' } }
      return JSON.stringify(json)
    })
  }
}

async function edit(file: string, change: (text: string) => string): Promise<void> {
  const path = join(repository.path, file)
  const text = await readFile(path, 'utf8')
  expect(change(text)).not.toBe(text)
  await writeFile(path, change(text))
}

/** Builds a commit of another greeting, and waits until dev has taken it. */
async function delivery(greeting: string): Promise<string> {
  await changeGreeting(repository, greeting)
  const end = await delivered(api, repository, await repository.commit(greeting))
  expect(end).toMatchObject({ state: 'succeeded', failure: null })
  const { operation } = await api.operation({ params: { id: String(end.result['change']) } })
  await followed(api, operation)
  return String(end.result['digest'])
}

async function promoted(environment: string, digest: string): Promise<void> {
  const { operation } = await api.promote({
    params: { app: 'hello', environment },
    query: {},
    body: { digest: digest as never, reason: 'recovery' },
  })
  await followed(api, operation)
}

type Serving = { name: string; digest: string; address: string; greeting: string; instance: string }

/** What answers at each environment's address, by the digest that the ledger says is active there. */
async function serving(): Promise<Serving[] | undefined> {
  const { items } = await (await kiln.api()).environments({})
  const active = items.filter((one) => one.active !== null)
  const { ledger } = await onRecord(kiln)
  const running = await containersOf(kiln, engine.socketPath).catch(() => [])
  const found = await Promise.all(
    active.map(async ({ name, active: key, address }) => {
      const state = ledger.environments.get(name)
      const all = state?.running.every(({ id }) =>
        running.some(
          (one) => one.id === id && one.state === 'running' && one.digest === key?.digest,
        ),
      )
      const answer = await fetch(String(address)).catch(() => undefined)
      if (answer?.ok !== true || all !== true || state?.open !== null) return undefined
      const { message, instance } = (await answer.json()) as { message: string; instance: string }
      return {
        name,
        digest: String(key?.digest),
        address: String(address),
        greeting: message,
        instance,
      }
    }),
  )
  return found.every((one) => one !== undefined) && found.length > 1 ? found : undefined
}

function allServe(): Promise<Serving[]> {
  return eventually('every environment serves', 120, () => serving().catch(() => undefined))
}

/** What a person sees of it, whichever instances it is. */
function seen(all: readonly Serving[]) {
  return all.map(({ name, digest, address, greeting }) => ({ name, digest, address, greeting }))
}

async function wipeEngine(): Promise<void> {
  const docker = createDocker({ socketPath: engine.socketPath })
  const containers = await docker.listContainers({ all: true })
  await Promise.all(containers.map(({ Id }) => docker.getContainer(Id).remove({ force: true })))
  await docker.pruneNetworks()
  for (const { Id } of await docker.listImages())
    await docker
      .getImage(Id)
      .remove({ force: true })
      .catch(() => undefined)
}

async function wipeProcess(name: string, folder: string): Promise<void> {
  const pid = await kiln.pid(name)
  await rm(join(kiln.home, folder), { recursive: true, force: true })
  process.kill(pid, 'SIGKILL')
  await eventually(`${name} runs again`, 60, async () =>
    (await kiln.pid(name).catch(() => pid)) === pid ? undefined : true,
  )
}

/** Work goes on, through its workflow, as far as the ledger: it is active there already. */
async function promotes({ digest }: Serving): Promise<void> {
  await eventually('a promotion ends', 60, () =>
    promoted('test', digest).then(
      () => true,
      () => undefined,
    ),
  )
}

test('Docker, its images too, is wiped while Kiln runs: everything serves again', async () => {
  const before = await allServe()
  await wipeEngine()
  const after = await eventually('it serves again', 120, async () => {
    const now = await serving().catch(() => undefined)
    return now?.every((one, n) => one.instance !== before[n]?.instance) === true ? now : undefined
  })
  expect(seen(after)).toEqual(seen(before))
  await promotes(after[0] as Serving)
})

test('Temporal, PGlite and HAProxy lose all they knew at once: all serves, and the next commit is delivered', async () => {
  const before = await allServe()
  const [watch] = (await api.watches({})).items
  await Promise.all([
    wipeProcess('temporal', 'temporal'),
    wipeProcess('server', 'index'),
    wipeProcess('haproxy', 'edge'),
  ])
  const after = await allServe()
  // Not one instance was replaced for it.
  expect(after.map(({ instance }) => instance)).toEqual(before.map(({ instance }) => instance))
  expect(seen(after)).toEqual(seen(before))
  await promotes(after[0] as Serving)
  await watchDelivers('after Temporal was wiped')
  expect((await api.watches({})).items).toMatchObject([
    { id: watch?.id, since: watch?.since, failure: null },
  ])
})

test('a Kiln of which only its bucket is left is restored, with what came after its backup, and goes on', async () => {
  const second = await delivery('second')
  const [report] = await Promise.all([
    kiln.cli('backup', backup, '--passphrase-file', passphraseFile, '--json'),
    promoted('test', second),
  ])
  expect(JSON.parse(report)).toMatchObject({ version: 1, keys: 'encrypted' })
  await promoted('prod', second)
  const before = await allServe()
  const { facts } = await onRecord(kiln)
  await kiln.down()
  await wipeEngine()
  await rm(kiln.home, { recursive: true })

  await kiln.cli('restore', backup, '--passphrase-file', passphraseFile)
  await kiln.up()
  expect(seen(await allServe())).toEqual(seen(before))
  api = await kiln.api()
  await watchDelivers('after the home was restored')
  expect((await onRecord(kiln)).facts.slice(0, facts.length)).toEqual(facts)
  expect(await kiln.cli('verify', 'hello/prod')).toContain('signature')
  expect(await kiln.cli('fsck')).toMatch(/^\d+\t/)
})

test('after a power cut the unit alone brings everything back', async () => {
  const before = await allServe()
  for (const pid of processesOf(kiln.home)) process.kill(pid, 'SIGKILL')
  await engine.crash()
  // Pid files, sockets and locks of before are still there.
  expect(readdirSync(join(kiln.home, 'run'))).toContain('signer.sock')
  await engine.start()
  const unit = startOfUnit()
  try {
    const after = await allServe()
    expect(seen(after)).toEqual(seen(before))
    expect(after.some((one, n) => one.instance === before[n]?.instance)).toBe(false)
  } finally {
    unit.kill('SIGTERM')
    await new Promise((resolve) => unit.once('exit', resolve))
  }
})

/** The line that systemd would run, from where this Kiln lies. */
function startOfUnit(): ChildProcess {
  const unit = readFileSync(join(root, 'deploy/kiln.service'), 'utf8')
  const line = /^ExecStart=\/opt\/kiln\/(\S+)$/m.exec(unit)?.[1]
  if (line === undefined) throw new Error('the unit starts something else')
  return spawn(join(root, line), [], {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', HOME: '/root', KILN_HOME: kiln.home, ...kiln.env },
    stdio: 'ignore',
  })
}
