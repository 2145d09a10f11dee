import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import type { ContainerCreateOptions } from 'dockerode'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startSigner, type SignerServer } from '../../signing/signer-server.ts'
import { npmContainer, projectFolder } from '../../src/build/npm-container.ts'
import { defaultBuildLimits } from '../../src/build/ports.ts'
import { runContainer } from '../../src/docker/containers.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { containerOptions } from '../../src/runtime/container.ts'
import { ensureNetwork, type Engine } from '../../src/runtime/engine.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import {
  buildRoom,
  busyboxBase,
  putContext,
  source,
  testTemplate,
  type BuildRoom,
} from '../helpers/build-room.ts'
import { definition } from '../runtime/host-at-hand.ts'

// No build can reach a key. The same probes run in a RUN step of the real build, in a container exactly as
// the one that fetches dependencies, in one exactly as an instance, and, as a control that each of them
// would succeed where something is open, in one that has what Kiln gives to none of them.

const canary = `canary${randomBytes(8).toString('hex')}`
const host = `hb${randomBytes(4).toString('hex')}`

let room: BuildRoom
let base: Digest
let signer: SignerServer
let engine: Engine
let script: string
const servers: Server[] = []
const other = `other${randomBytes(8).toString('hex')}`
const visible = spawn('sleep', ['600'], { argv0: canary, env: { OTHER: other } })

/** Something that answers with the canary, as the API, Temporal, SQL, an object store listen: on loopback only. */
async function listen(where: { host: string; port: number } | string): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.end(`${canary}\n`)
  })
  servers.push(server)
  if (typeof where === 'string') server.listen(where)
  else server.listen(where)
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Each line that it prints names a probe that found something. */
function probes(ports: Record<string, number>): string {
  const { root } = room
  const own = Object.values(networkInterfaces())
    .flatMap((some) => some ?? [])
    .filter(({ family }) => family === 'IPv4')
    .map(({ address }) => address)
  const addresses = [...new Set(['127.0.0.1', ...own])]
  const tries = (name: string, port: number) =>
    `for a in ${addresses.join(' ')}; do b timeout 3 busybox nc $a ${port} </dev/null 2>/dev/null | b grep -q ${canary} && echo "reached ${name}"; done`
  return [
    'b() { /bin/busybox "$@"; }',
    'PATH=/bin:$PATH',
    `b env | b grep -E -q '${canary}|KILN_|AWS_' && echo "reached environment"`,
    `b cat /proc/[0-9]*/environ 2>/dev/null | b grep -q ${other} && echo "reached other processes' environment"`,
    `for p in /proc/[0-9]*; do [ "$(b head -c ${canary.length} $p/cmdline 2>/dev/null)" = ${canary} ] && echo "reached other processes"; done`,
    '[ "$(b head -c 1 /proc/kcore 2>/dev/null | b wc -c)" = 1 ] && echo "reached kcore"',
    `b grep -q '@${canary}' /proc/net/unix && echo "reached abstract sockets"`,
    `for s in /var/run/docker.sock /run/docker.sock; do [ -S $s ] && echo "reached the engine's socket"; done`,
    `[ -S ${root}/run/signer.sock ] && echo "reached the signer's socket"`,
    `[ -e ${root}/keys/promote.pem ] && echo "reached the keys"`,
    `[ -e ${root}/store/${canary} ] && echo "reached the store"`,
    ...Object.entries(ports).map(([name, port]) => tries(name, port)),
    `[ "$(echo $(b ls /sys/class/net))" = lo ] || echo "reached a network"`,
    'true',
  ].join('\n')
}

const everything = [
  'a network',
  'environment',
  "other processes' environment",
  'other processes',
  'abstract sockets',
  "the engine's socket",
  "the signer's socket",
  'the keys',
  'the store',
  'api',
  'temporal',
  'sql',
  'objects',
  'engine over TCP',
]

function reached(text: string): string[] {
  const found = [...text.matchAll(/^reached (.+)$/gm)].map(([, what = '']) => what.trim())
  return [...new Set(found)].toSorted()
}

async function inContainer(options: ContainerCreateOptions): Promise<string[]> {
  let output = ''
  const run = {
    options: { ...options, Entrypoint: [], Cmd: ['/bin/busybox', 'sh', '-c', script] },
    signal: AbortSignal.timeout(120_000),
    onOutput: (bytes: Uint8Array) => (output += Buffer.from(bytes).toString()),
  }
  const code = await runContainer(room.docker, run, async (_container, exitCode) => exitCode)
  expect({ code, output: output.replaceAll(/^reached .*$\n?/gm, '') }).toEqual({
    code: 0,
    output: '',
  })
  return reached(output)
}

beforeAll(async () => {
  room = await buildRoom()
  mkdirSync(room.root, { recursive: true })
  signer = await startSigner({
    directory: join(room.root, 'keys'),
    socket: join(room.root, 'run/signer.sock'),
    origin: 'kiln.local',
    lock: lockFolder,
    now: () => new Date(),
    logger: pino({ level: 'silent' }),
  })
  base = await busyboxBase(room.store)
  writeFileSync(join(room.root, 'store', canary), '')
  await listen(`\0${canary}`)
  const on = (port = 0) => listen({ host: '127.0.0.1', port })
  script = probes({
    api: await on(),
    temporal: await on(),
    sql: await on(),
    objects: await on(),
    'engine over TCP': await on(),
  })
  engine = { docker: room.docker, naming: { host, prefix: host } }
})

afterAll(async () => {
  visible.kill()
  for (const server of servers) server.close()
  await signer.close()
  const network = await ensureNetwork(engine, 'hello/prod')
  await room.docker.getNetwork(network).remove()
  await room.close()
})

/** A RUN step of the real build; what it says is in the build's log. */
async function hostileRun(): Promise<string[]> {
  room.lines.length = 0
  await room.activities.buildImage({
    build: `build:${randomBytes(8).toString('hex')}`,
    app: 'hostile',
    context: await putContext(room, { 'probe.sh': `${script}\necho "probed"\n` }),
    dependencies: null,
    template: await testTemplate(
      room,
      base,
      'FROM base\nCOPY app/ /app/\nRUN sh /app/probe.sh\nUSER 901:901\nCMD ["/bin/sh"]\n',
    ),
    source,
    useCache: false,
  })
  const text = room.lines.join('\n')
  expect(text).toContain('probed')
  return reached(text)
}

const image = () => `${room.deps.registry.address}/kiln/base@${base}`

test('a RUN step, the step that fetches and an instance reach nothing; who is given it reaches it all', async () => {
  expect(await hostileRun()).toEqual([])

  const fetching = npmContainer(image(), {
    labels: {},
    npm: { registry: null, caFile: null },
    limits: defaultBuildLimits,
  })
  expect(await inContainer({ ...fetching, WorkingDir: projectFolder })).toEqual(['a network'])

  const network = await ensureNetwork(engine, 'hello/prod')
  const { Id } = await room.docker.getImage(image()).inspect()
  const instance = containerOptions({
    name: `${host}-probe`,
    number: 1,
    imageId: Id,
    network,
    definition,
    secrets: null,
    labels: {
      environment: 'hello/prod',
      epoch: 1,
      change: 'c',
      digest: base,
      definition: base,
      key: '1'.repeat(64),
      host,
      settings: definition,
    },
  })
  expect(await inContainer(instance)).toEqual(['a network'])

  const open = await inContainer({
    Image: image(),
    Env: [`CANARY=${canary}`],
    HostConfig: {
      NetworkMode: 'host',
      PidMode: 'host',
      CapAdd: ['SYS_PTRACE'],
      Binds: [`${room.root}:${room.root}`, '/var/run/docker.sock:/var/run/docker.sock'],
    },
  })
  expect(open.filter((what) => what !== 'kcore')).toEqual(everything.toSorted())
})
