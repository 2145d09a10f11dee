import { execa } from 'execa'
import { cp, mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { client } from '../../src/api/client.ts'
import { parseDigest } from '../../src/domain/digest.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { root } from '../../scripts/demo/kiln.ts'
import { makeRepository } from '../../scripts/demo/repository.ts'
import { testTemplatesWithKiln } from '../helpers/templates.ts'
import {
  clearEngine,
  delivered,
  eventually,
  freePorts,
  kilnAtHand,
  type KilnAtHand,
} from './kiln-at-hand.ts'

/** The user of Kiln's image. */
const user = 901
const socket = '/var/run/docker.sock'

let kiln: KilnAtHand
/** What the Kiln inside sees of this machine, under the same paths. */
let inside: string
let host: string
let port: number
let image: string

function engine(...args: string[]) {
  return execa('docker', args, { reject: false })
}

beforeAll(async () => {
  kiln = await kilnAtHand({}, testTemplatesWithKiln)
  await kiln.up()
  inside = await mkdtemp(join(tmpdir(), 'kiln-inside-'))
  host = `${kiln.host}i`
  port = await freePorts()
}, 600_000)

afterAll(async () => {
  await engine('rm', '-f', '-v', host)
  await clearEngine(engine, { host, port })
  if (image !== undefined) await engine('rmi', image)
  await kiln.remove()
  await rm(inside, { recursive: true, force: true })
}, 120_000)

test('the Dockerfile at the top is the one that the template is locked with', async () => {
  const [top, own] = await Promise.all(
    ['Dockerfile', 'templates/kiln/Dockerfile'].map((path) => readFile(join(root, path), 'utf8')),
  )
  expect(top).toBe(own)
})

test('Kiln builds its own image from its own repository', async () => {
  const path = join(kiln.folder, 'kiln')
  await execa('git', ['clone', '--quiet', '--no-hardlinks', root, path])
  const { stdout: commit } = await execa('git', ['rev-parse', 'HEAD'], { cwd: path })
  // A checkout need not be of a branch, but Kiln builds what is on one.
  await execa('git', ['branch', 'as-checked-out'], { cwd: path })
  const repository = { path, commit: () => Promise.resolve(commit) }
  const { result, steps } = await delivered(await kiln.api(), repository, commit)
  expect(steps.map(({ name, state }) => `${name}: ${state}`)).toEqual([
    'source: done',
    'template: done',
    'fetch dependencies: done',
    'build image: done',
    'inspect: done',
    'sign and log: done',
    'publish: done',
    'read back and seal: done',
    'promote: done',
  ])
  await keepFetched()
  // Nothing runs it as an instance: its one environment is promoted to by hand.
  expect(result['change']).toBeNull()
  image = `127.0.0.1:${Number(kiln.env['KILN_API_PORT']) + 1}/kiln@${String(result['digest'])}`
})

test('the image runs as its own user, read-only, and what is in it builds and serves an app', async () => {
  const home = join(inside, 'home')
  await mkdir(home)
  const { storeRoot } = await testTemplatesWithKiln()
  await execa('cp', ['-al', storeRoot, join(home, 'store')])
  await cp(join(kiln.folder, 'templates'), join(inside, 'templates'), { recursive: true })
  const repository = await makeRepository(join(inside, 'hello'), join(root, 'examples/hello'))
  const commit = await repository.commit('first')
  await execa('chmod', ['0755', inside])
  // All of it is the image's user's, the stored objects too, which are shared by hard links: whoever uses
  // one says so by its time, which is its owner's to set.
  await execa('chown', ['-R', `${user}:${user}`, inside])
  await start()
  const api = await eventually('the Kiln inside answers', 180, () => connect(home)).catch(
    async (cause: unknown) => {
      const { stdout, stderr } = await engine('logs', '--tail', '20', host)
      throw new Error(`the Kiln inside does not answer:\n${stdout}\n${stderr}`, { cause })
    },
  )
  const { result } = await delivered(api, repository, commit)
  expect(result['digest']).toMatch(/^sha256:[0-9a-f]{64}$/)
  const address = await eventually('dev serves', 120, async () => {
    const { items } = await api.environments({})
    const dev = items.find(({ name }) => name === 'hello/dev')
    return dev?.active?.digest === result['digest'] ? dev?.address : undefined
  })
  const answer = (await (await fetch(`${address}/`)).json()) as { message: string }
  expect(answer.message).toBe('Hello from the first commit')
  const ps = await engine('ps', '-q', '--filter', `label=kiln.host=${host}`)
  expect(ps.stdout.split('\n')).toHaveLength(1)
})

test('it ends in order when it is told to', async () => {
  await engine('stop', '--time', '60', host)
  const { stdout } = await engine(
    'inspect',
    '--format',
    '{{.State.ExitCode}} {{.State.OOMKilled}}',
    host,
  )
  expect(stdout).toBe('0 false')
})

/** What 370 packages gave is kept on this machine beside the templates, as a Kiln keeps it: the next run has it. */
async function keepFetched(): Promise<void> {
  const [own, kept] = [
    openFolderStore({ root: join(kiln.home, 'store') }),
    (await testTemplatesWithKiln()).store,
  ]
  for await (const key of own.list('cache/dependencies/')) {
    const digest = parseDigest(
      Buffer.from((await own.get(key)) ?? [])
        .toString()
        .trim(),
    )
    if ((await kept.size(key)) !== undefined) continue
    const content = await own.readBlob(digest)
    if (content === undefined) continue
    await kept.putBlob(content, digest)
    await kept.put(key, Buffer.from(`${digest}\n`))
  }
}

async function start(): Promise<void> {
  const config = join(kiln.folder, 'home/docker-config')
  await execa('docker', ['--config', config, 'pull', '--quiet', image])
  const { gid } = await stat(socket)
  const certificates = process.env['SSL_CERT_FILE']
  const registry = (await execa('npm', ['config', 'get', 'registry'])).stdout.trim()
  const environment = [
    ...(certificates === undefined ? [] : [`SSL_CERT_FILE=${certificates}`]),
    `npm_config_registry=${registry}`,
    `KILN_HOME=${join(inside, 'home')}`,
    `KILN_TEMPLATES=${join(inside, 'templates')}`,
    `KILN_REPOSITORIES=${inside}`,
    `KILN_API_PORT=${port}`,
    `KILN_HOST=${host}`,
  ]
  const mounts = [
    `${socket}:${socket}`,
    `${inside}:${inside}`,
    ...(certificates === undefined ? [] : [`${certificates}:${certificates}:ro`]),
  ]
  await execa('docker', [
    ...'run --detach --network host --read-only --tmpfs /tmp --cap-drop ALL'.split(' '),
    ...`--security-opt no-new-privileges --group-add ${gid} --name ${host}`.split(' '),
    ...environment.flatMap((one) => ['--env', one]),
    ...mounts.flatMap((one) => ['--volume', one]),
    image,
  ])
}

async function connect(home: string) {
  const told = await readFile(join(home, 'api.json'), 'utf8').catch(() => undefined)
  if (told === undefined) return undefined
  const { address } = JSON.parse(told) as { address: string }
  const api = client({ address, token: (await readFile(join(home, 'token'), 'utf8')).trim() })
  // The build worker is the last one that work needs; what asks before it is there only waits.
  return api.status({}).then(
    () => api,
    () => undefined,
  )
}
