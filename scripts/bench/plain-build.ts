import { execa } from 'execa'
import { randomUUID } from 'node:crypto'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from '../demo/kiln.ts'
import { home, registry, type BenchKiln } from './bench-kiln.ts'

const tag = 'kiln-bench/plain'
const label = 'kiln.bench=plain'

export type PlainBuild = {
  /** Changes the one source file; to what nobody has built before, Kiln neither. */
  change: () => Promise<void>
  build: () => Promise<unknown>
  remove: () => Promise<void>
}

/**
 * What somebody without Kiln would build: the same Dockerfile on the same base, the same files, no
 * network, the classic builder with its cache. Something must run in dev: its dependencies are taken.
 */
export async function plainBuild({ api, repository }: BenchKiln): Promise<PlainBuild> {
  const folder = join(home, 'plain')
  await mkdir(join(folder, 'deps'), { recursive: true })
  await cp(repository.path, join(folder, 'app'), { recursive: true, filter: isSource })
  const { running } = await api.environment({ params: { app: 'hello', environment: 'dev' } })
  const [instance] = running
  if (instance === undefined) throw new Error('nothing runs in dev')
  await execa('docker', ['cp', `${instance.id}:/app/node_modules`, join(folder, 'deps')])
  const base = await taggedBase()
  const template = await readFile(join(root, 'templates/node-service/Dockerfile'), 'utf8')
  await writeFile(join(folder, 'Dockerfile'), template.replace(/^FROM base$/m, `FROM ${base}`))
  const build = ['build', '--quiet', '--network', 'none', '--label', label, '--tag', tag, folder]
  return {
    change: () => writeFile(join(folder, 'app/message.txt'), `Hello ${randomUUID()}\n`),
    build: () => execa('docker', build, { env: { DOCKER_BUILDKIT: '0' } }),
    async remove() {
      await execa('docker', ['image', 'rm', '-f', tag, base], { reject: false })
      // Every build but the last one has lost its name to the next.
      await execa('docker', ['image', 'prune', '--force', '--filter', `label=${label}`])
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function isSource(path: string): boolean {
  return !path.endsWith('/.git')
}

/** The engine has the base by its digest, from Kiln's own build. */
async function taggedBase(): Promise<string> {
  const format = '{{.Repository}}@{{.Digest}}'
  const list = ['image', 'ls', '--digests', '--format', format, `${registry}/kiln/base`]
  const { stdout } = await execa('docker', list)
  const [found = ''] = stdout.split('\n')
  if (found === '') throw new Error(`the engine has no ${registry}/kiln/base`)
  await execa('docker', ['tag', found, `${tag}-base`])
  return `${tag}-base`
}
