import { buffer } from 'node:stream/consumers'
import type { ContainerCreateOptions } from 'dockerode'
import { noXattrs, type TarEntry } from '../oci/tar-entry.ts'
import type { TarOutput } from '../oci/tar-writer.ts'
import { writeTar } from '../oci/tar-writer.ts'
import type { BuildLimits } from './ports.ts'
import type { NpmFiles } from './source-files.ts'

/** Who runs npm: nobody that any image knows. */
const owner = 901

export const projectFolder = '/work/app'
/** A copy, not a mount: the engine may know other paths than the process that speaks to it. */
const caFileInside = '/work/ca.crt'

/**
 * The container that runs `npm ci`: it has a network, and of the source only the two files of npm.
 * Lifecycle scripts are off. `resolved` addresses in the lock count only as paths below the machine's
 * own registry.
 */
export function npmContainer(
  image: string,
  options: {
    labels: Record<string, string>
    npm: { registry: string | null; caFile: string | null }
    limits: BuildLimits
  },
): ContainerCreateOptions {
  const { labels, npm, limits } = options
  const memory = limits.memoryMb * 1024 * 1024
  return {
    Image: image,
    Entrypoint: [],
    Cmd: ['npm', 'ci', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund'],
    WorkingDir: projectFolder,
    User: `${owner}:${owner}`,
    Env: environmentOf(npm),
    Labels: labels,
    HostConfig: {
      NetworkMode: 'bridge',
      ReadonlyRootfs: true,
      Tmpfs: { '/tmp': 'rw,nosuid,nodev,size=64m,mode=1777' },
      // A volume of its own, which goes with the container: a tmpfs cannot be read once it has stopped.
      Mounts: [{ Type: 'volume', Source: '', Target: '/work' }],
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Memory: memory,
      MemorySwap: memory,
      NanoCpus: Math.round(limits.cpus * 1e9),
      PidsLimit: limits.pids,
      LogConfig: { Type: 'none', Config: {} },
    },
  }
}

function environmentOf(npm: { registry: string | null; caFile: string | null }): string[] {
  return [
    'HOME=/tmp',
    'npm_config_cache=/work/cache',
    'npm_config_update_notifier=false',
    'npm_config_replace_registry_host=always',
    ...(npm.registry === null ? [] : [`npm_config_registry=${npm.registry}`]),
    ...(npm.caFile === null
      ? []
      : [`NODE_EXTRA_CA_CERTS=${caFileInside}`, `npm_config_cafile=${caFileInside}`]),
  ]
}

/** What is put below /work before npm starts; `certificates` are those that npm trusts. */
export function npmInput(
  { manifest, lock }: NpmFiles,
  certificates: Buffer | null,
): Promise<Buffer> {
  return buffer(
    writeTar([
      folder('app/'),
      file('app/package.json', manifest),
      file('app/package-lock.json', lock),
      folder('cache/'),
      ...(certificates === null ? [] : [file('ca.crt', certificates)]),
    ]),
  )
}

const owned: Omit<TarEntry, 'name' | 'type' | 'mode' | 'size'> = {
  linkname: '',
  uid: owner,
  gid: owner,
  mtime: 0,
  device: { major: 0, minor: 0 },
  xattrs: noXattrs,
}

function folder(name: string): TarOutput {
  return { entry: { ...owned, name, type: 'directory', mode: 0o755, size: 0 } }
}

function file(name: string, content: Buffer): TarOutput {
  return {
    entry: { ...owned, name, type: 'file', mode: 0o644, size: content.length },
    body: [content],
  }
}
