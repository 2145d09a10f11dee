import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import Docker from 'dockerode'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { credentialAccess } from '../../src/registry/access.ts'
import { createOpenRegistry, type OpenRegistry } from '../../src/registry/server.ts'
import { createTokens } from '../../src/registry/tokens.ts'
import { makeCertificate, type MadeCertificate } from '../helpers/certificate.ts'
import { findTool } from '../helpers/find-tool.ts'
import {
  authconfig,
  basic,
  follow,
  publishImage,
  registryAtHand,
  type Who,
} from './registry-at-hand.ts'

let hand: Awaited<ReturnType<typeof registryAtHand>>
let certificate: MadeCertificate
let folder: string
let open: OpenRegistry
let image: Awaited<ReturnType<typeof publishImage>>

/** Those that other hosts have; the build process's is not among them. */
const passwords = credentialAccess([
  { kind: 'reader', username: 'reader', password: 'reader-password' },
  { kind: 'host', username: 'host', password: 'host-password' },
])

beforeAll(async () => {
  hand = await registryAtHand()
  certificate = await makeCertificate(['localhost'])
  folder = await mkdtemp(join(tmpdir(), 'kiln-open-'))
  await writeFile(join(folder, 'ca.crt'), certificate.certificate)
  open = await createOpenRegistry({
    store: hand.store,
    access: passwords,
    admissible: async () => (digest) => hand.admissible.has(digest),
    address: { host: '127.0.0.1', port: 0 },
    name: 'localhost',
    pem: certificate.both,
  })
  image = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
})
afterAll(async () => {
  await open.close()
  await hand.close()
  await rm(folder, { recursive: true, force: true })
})

type Answer = { status: number; challenge: string; json: Record<string, unknown> }

function ask(path: string, authorization?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { certificate: ca } = certificate
    const headers = authorization === undefined ? {} : { authorization }
    const url = `https://localhost:${open.port}${path}`
    const asking = request(url, { ca, headers, family: 4 }, async (answer) => {
      let text = ''
      for await (const chunk of answer) text += String(chunk)
      resolve({
        status: answer.statusCode ?? 0,
        challenge: String(answer.headers['www-authenticate']),
        json: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {},
      })
    })
    asking.once('error', reject).end()
  })
}

const manifest = (repository = 'hello') => `/v2/${repository}/manifests/${image.digest}`

async function tokenFor(who: Who, ...scopes: string[]): Promise<string> {
  const query = new URLSearchParams([
    ['service', `localhost:${open.port}`],
    ...scopes.map((scope): [string, string] => ['scope', scope]),
  ])
  const { status, json } = await ask(`/token?${query.toString()}`, basic(who))
  expect(status).toBe(200)
  expect(json).toMatchObject({ expires_in: 300, access_token: json['token'] })
  return `Bearer ${String(json['token'])}`
}

test('who asks without a token is told where it is had, for what, and nothing else', async () => {
  const name = `localhost:${open.port}`
  const bearer = `Bearer realm="https://${name}/token",service="${name}"`
  expect(await ask('/v2/')).toMatchObject({ status: 401, challenge: bearer })
  for (const path of [manifest(), '/v2/hello/manifests/none', '/v2/hello/tags/list']) {
    expect(await ask(path)).toMatchObject({
      status: 401,
      challenge: `${bearer},scope="repository:hello:pull"`,
    })
  }
  expect(await ask('/v2/what/ever')).toMatchObject({ status: 401, challenge: bearer })
})

test('a token is for the repositories that it names, and for pulling', async () => {
  const token = await tokenFor('reader', 'repository:hello:pull,push')
  expect(await ask(manifest(), token)).toMatchObject({ status: 200 })
  expect(await ask('/v2/', token)).toMatchObject({ status: 200 })
  await publishImage(hand.store, 'other', { other: 'one' })
  expect(await ask('/v2/other/tags/list', token)).toMatchObject({
    status: 401,
    challenge: expect.stringContaining('repository:other:pull'),
  })
  const both = await tokenFor('reader', 'repository:hello:pull repository:other:pull')
  expect(await ask('/v2/other/tags/list', both)).toMatchObject({ status: 200 })
  const pushes = await tokenFor('reader', 'repository:hello:push', 'registry:catalog:*')
  expect(await ask(manifest(), pushes)).toMatchObject({ status: 401 })
})

test("a host's token pulls what is admissible alone", async () => {
  const token = await tokenFor('host', 'repository:hello:pull')
  expect(await ask(manifest(), token)).toMatchObject({ status: 403 })
  hand.admissible.add(image.digest)
  expect(await ask(manifest(), token)).toMatchObject({ status: 200 })
  hand.admissible.delete(image.digest)
})

test('no token for a wrong password, for none, for a token, or for the build process', async () => {
  const token = await tokenFor('reader', 'repository:hello:pull')
  const wrong = `Basic ${Buffer.from('reader:wrong').toString('base64')}`
  for (const given of [undefined, wrong, token, basic('build')]) {
    expect(await ask('/token?scope=repository:hello:pull', given)).toMatchObject({
      status: 401,
      challenge: 'Basic realm="kiln"',
    })
  }
  expect(await ask('/v2/', basic('build'))).toMatchObject({ status: 401 })
})

test('a token that is old, changed, unsigned or of another registry is none', async () => {
  let now = new Date()
  const given = { passwords, now: () => now }
  const here = createTokens({ ...given, name: () => 'a:1' })
  const there = createTokens({ ...given, name: () => 'b:1' })
  const { token } = await here.issue({ kind: 'host' }, ['repository:hello:pull'])
  const principal = { kind: 'host', repositories: ['hello'] }
  expect(await here.access(`Bearer ${token}`)).toEqual(principal)
  expect(await there.access(`Bearer ${token}`)).toBeNull()
  const [head = '', body = '', signature = ''] = token.split('.')
  const other = Buffer.from(body, 'base64url').toString().replace('host', 'reader')
  const none = Buffer.from('{"alg":"none"}').toString('base64url')
  const forged = Buffer.from(other).toString('base64url')
  expect(await here.access(`Bearer ${head}.${forged}.${signature}`)).toBeNull()
  expect(await here.access(`Bearer ${none}.${body}.${signature}`)).toBeNull()
  now = new Date(now.getTime() + 299_000)
  expect(await here.access(`Bearer ${token}`)).toEqual(principal)
  now = new Date(now.getTime() + 2000)
  expect(await here.access(`Bearer ${token}`)).toBeNull()
})

test('nothing is pushed, nothing is said in the clear, and old TLS is refused', async () => {
  const token = await tokenFor('reader', 'repository:hello:pull,push')
  const header = `authorization: ${token}`
  const certified = ['-s', '--cacert', join(folder, 'ca.crt')]
  const pushing = await execa(
    'curl',
    [...certified, '-X', 'POST', '-H', header].concat(
      `https://localhost:${open.port}/v2/hello/blobs/uploads/`,
    ),
  )
  expect(pushing.stdout).toContain('UNSUPPORTED')
  await expect(fetch(`http://127.0.0.1:${open.port}/v2/`)).rejects.toThrow('fetch failed')
  const old = connect({
    port: open.port,
    ca: certificate.certificate,
    servername: 'localhost',
    maxVersion: 'TLSv1.1',
    minVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  })
  await expect(
    new Promise((resolve, reject) => old.once('secureConnect', resolve).once('error', reject)),
  ).rejects.toThrow(/protocol|alert/)
})

test('Docker, skopeo and crane pull with tokens; the last two only when they know the certificate', async () => {
  const reference = `127.0.0.1:${open.port}/hello@${image.digest}`
  const docker = new Docker({ socketPath: '/var/run/docker.sock' })
  await follow(await docker.pull(reference, { authconfig: authconfig('reader', open.port) }))
  expect((await docker.getImage(reference).inspect()).Id).toBe(image.config)
  await docker.getImage(reference).remove({ force: true })

  const named = `docker://localhost:${open.port}/hello@${image.digest}`
  const inspect = ['inspect', '--creds=reader:reader-password']
  const { stdout } = await execa('skopeo', [...inspect, `--cert-dir=${folder}`, named])
  expect(JSON.parse(stdout)).toMatchObject({ Digest: image.digest })
  const stranger = execa('skopeo', [...inspect, named])
  await expect(stranger).rejects.toThrow(/certificate/)

  const config = join(folder, 'docker')
  const crane = (env: Record<string, string>) =>
    execa(findTool('crane'), ['manifest', `localhost:${open.port}/hello@${image.digest}`], {
      env: { DOCKER_CONFIG: config, ...env },
    })
  const auth = Buffer.from('reader:reader-password').toString('base64')
  await execa('mkdir', ['-p', config])
  await writeFile(
    join(config, 'config.json'),
    JSON.stringify({ auths: { [`localhost:${open.port}`]: { auth } } }),
  )
  const pulled = await crane({ SSL_CERT_FILE: join(folder, 'ca.crt') })
  expect(JSON.parse(pulled.stdout)).toMatchObject({ schemaVersion: 2 })
  const alone = crane({ SSL_CERT_FILE: '/dev/null', SSL_CERT_DIR: join(folder, 'none') })
  await expect(alone).rejects.toThrow(/certificate|unknown authority/)
})
