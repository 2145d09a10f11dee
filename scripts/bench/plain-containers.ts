import { execa } from 'execa'
import { faultOf } from '../../src/runtime/probe.ts'
import { eventually } from '../demo/kiln.ts'
import type { BenchKiln } from './bench-kiln.ts'

const network = 'kiln-bench-plain'

/** The definition of hello/prod as a person would write it for `docker run`. */
const hardened = [
  '--read-only',
  '--cap-drop=ALL',
  '--security-opt=no-new-privileges:true',
  '--memory=128m',
  '--memory-swap=128m',
  '--cpus=0.5',
  '--pids-limit=64',
  '--tmpfs=/tmp:rw,nosuid,nodev,noexec,size=64m,mode=1777',
  '--env=PORT=8080',
  '--env=WORK_TIME=1ms',
]

/** The engine's name for what runs in prod. */
export async function prodImage({ api }: BenchKiln): Promise<string> {
  const { running } = await api.environment({ params: { app: 'hello', environment: 'prod' } })
  const [instance] = running
  if (instance === undefined) throw new Error('nothing runs in prod')
  const { stdout } = await execa('docker', ['inspect', '--format', '{{.Image}}', instance.id])
  return stdout.trim()
}

/** A network of its own while the work goes on; whatever is left in it at the end is removed. */
export async function withNetwork<T>(work: () => Promise<T>): Promise<T> {
  await removeNetwork()
  await execa('docker', ['network', 'create', network])
  try {
    return await work()
  } finally {
    await removeNetwork()
  }
}

async function removeNetwork(): Promise<void> {
  const filter = ['--filter', `network=${network}`]
  const { stdout } = await execa('docker', ['ps', '-aq', ...filter])
  if (stdout !== '') await execa('docker', ['rm', '-f', ...stdout.split('\n')])
  await execa('docker', ['network', 'rm', network], { reject: false })
}

/** `docker run`, and waiting until it answers. Gives the container's id. */
export async function runUntilReady(image: string, more: readonly string[] = []): Promise<string> {
  const args = ['run', '--detach', '--network', network, ...hardened, ...more, image]
  const { stdout } = await execa('docker', args)
  const id = stdout.trim()
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'
  const inspected = await execa('docker', ['inspect', '--format', format, id])
  const asked = { address: inspected.stdout.trim(), port: 8080 }
  const probe = { path: '/ready', intervalMs: 1000, timeoutMs: 1000 }
  await eventually(`${id} answers`, 30, async () =>
    (await faultOf(asked, probe)) === null ? true : undefined,
  )
  return id
}

export async function removeContainers(ids: readonly string[]): Promise<void> {
  await execa('docker', ['rm', '-f', ...ids])
}
