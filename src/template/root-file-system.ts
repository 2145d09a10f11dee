import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readFile, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { readTar } from '../oci/tar-reader.ts'
import { writeTar, type TarOutput } from '../oci/tar-writer.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { lastLines, type Run } from './command.ts'
import type { LockedPackage } from './lock-file.ts'
import { withScratch } from './scratch.ts'
import type { DebianTemplate } from './template-file.ts'

/** Everything that decides the bytes of a root file system. */
export type RootFileSystem = Pick<DebianTemplate, 'suite' | 'users'> & {
  /** Seconds since 1970: SOURCE_DATE_EPOCH, and the newest time any file can have. */
  epoch: number
  packages: readonly LockedPackage[]
}

type Rooms = { store: BlobStore; scratch: string; run: Run }

/** What mmdebstrap and its hooks see of the machine: nothing that could reach the result. */
const plainEnvironment = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C.UTF-8',
  TZ: 'UTC',
  HOME: '/nonexistent',
}

const halfHourMs = 30 * 60_000

/**
 * Makes a Debian root file system from stored packages only, in a network namespace of its own with
 * no network, and stores it as a layer. The same inputs give the same bytes. Throws
 * `prerequisite_missing` without root or mmdebstrap, `lock_mismatch` when the packages do not fit
 * together or others were installed than the lock names.
 */
export async function buildRootFileSystem(
  rooms: Rooms,
  wanted: RootFileSystem,
): Promise<{ digest: Digest; size: number }> {
  const parent = await fastFolder(rooms.scratch)
  return await withScratch({ parent, kind: 'root' }, async (folder) => {
    await writeRepository(folder, rooms, wanted)
    await writeFile(join(folder, 'hook.sh'), cleaningHook(wanted.users))
    const outcome = await rooms.run({
      file: 'unshare',
      // No network; and mounts that nobody else sees and that end with the process.
      arguments: ['--net', '--mount', 'mmdebstrap', ...mmdebstrapArguments(folder, wanted)],
      cwd: folder,
      environment: {
        ...plainEnvironment,
        SOURCE_DATE_EPOCH: String(wanted.epoch),
        TMPDIR: folder,
        KILN_INSTALLED: join(folder, 'installed'),
      },
      timeoutMs: halfHourMs,
    })
    if (outcome.exitCode !== 0) throw explainFailure(outcome.stderr)
    compareInstalled(await readFile(join(folder, 'installed'), 'utf8'), wanted.packages)
    return await rooms.store.putBlob(writeTar(rootLayer(join(folder, 'root.tar'))))
  })
}

function mmdebstrapArguments(folder: string, { packages, suite }: RootFileSystem): string[] {
  return [
    '--mode=root',
    '--variant=apt',
    '--architectures=amd64',
    '--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr',
    `--include=${packages.map(({ name, version }) => `${name}=${version}`).join(',')}`,
    `--customize-hook=/bin/sh ${join(folder, 'hook.sh')} "$1"`,
    suite,
    join(folder, 'root.tar'),
    `deb [trusted=yes] copy:${join(folder, 'repository')} ${suite} main`,
  ]
}

/** Memory where there is enough of it: mmdebstrap takes half the time there. */
async function fastFolder(scratch: string): Promise<string> {
  const memory = '/dev/shm'
  const neededBytes = 2 * 1024 ** 3
  const mounts = await readFile('/proc/mounts', 'utf8').catch(() => '')
  const mount = mounts.split('\n').find((line) => line.split(' ')[1] === memory)
  // Programs of the new root file system run from there.
  if (mount === undefined || (mount.split(' ')[3] ?? '').split(',').includes('noexec'))
    return scratch
  const { bavail, bsize } = await statfs(memory)
  return bavail * bsize >= neededBytes ? memory : scratch
}

/** A package repository of exactly the locked files. */
async function writeRepository(
  folder: string,
  { run, store }: Rooms,
  { packages, suite }: RootFileSystem,
): Promise<void> {
  const root = join(folder, 'repository')
  const index = join(root, 'dists', suite, 'main', 'binary-amd64')
  await mkdir(join(root, 'pool'), { recursive: true })
  await mkdir(index, { recursive: true })
  for (const { name, sha256, version } of packages) {
    const content = await store.readBlob(sha256)
    if (content === undefined) {
      throw new KilnError('input_unavailable', `${name} ${version} is not in the store`)
    }
    const file = `${name}_${version.replaceAll(':', '%3a')}.deb`
    await pipeline(content, createWriteStream(join(root, 'pool', file)))
  }
  const listing = await archive(run, root, ['packages', 'pool'])
  requireSums(listing, packages)
  await writeFile(join(index, 'Packages'), listing)
  const fields = { Codename: suite, Suite: suite, Components: 'main', Architectures: 'amd64' }
  const options = Object.entries(fields).flatMap(([field, value]) => [
    '-o',
    `APT::FTPArchive::Release::${field}=${value}`,
  ])
  const release = await archive(run, root, [...options, 'release', join('dists', suite)])
  await writeFile(join(root, 'dists', suite, 'Release'), release)
}

async function archive(run: Run, cwd: string, argv: readonly string[]): Promise<string> {
  const outcome = await run({
    file: 'apt-ftparchive',
    arguments: argv,
    cwd,
    environment: plainEnvironment,
    timeoutMs: 120_000,
  })
  if (outcome.exitCode !== 0) {
    throw new KilnError('internal', 'apt-ftparchive failed', { lines: lastLines(outcome.stderr) })
  }
  return outcome.stdout
}

/** The store's reader checks nothing: apt-ftparchive hashed what was really written for mmdebstrap. */
function requireSums(listing: string, packages: readonly LockedPackage[]): void {
  const found = new Set([...listing.matchAll(/^SHA256: ([0-9a-f]{64})$/gm)].map((line) => line[1]))
  for (const { name, sha256, version } of packages) {
    if (found.has(sha256.slice('sha256:'.length))) continue
    throw new KilnError(
      'digest_mismatch',
      `${name} ${version} in the store is not the content that its name promises, ${sha256}`,
      { fix: 'kiln fsck' },
    )
  }
}

/**
 * Runs outside the new root with its path as first argument: writes what is installed to
 * KILN_INSTALLED, adds the users, and removes what says when and where it was made.
 */
function cleaningHook(users: RootFileSystem['users']): string {
  return [
    'set -eu',
    'root=$1',
    `dpkg-query --admindir="$root/var/lib/dpkg" -W -f '\${Package}\\t\${Version}\\n' > "$KILN_INSTALLED"`,
    ...users.flatMap(({ name, uid }) => [
      `chroot "$root" groupadd --gid ${uid} ${name}`,
      `chroot "$root" useradd --uid ${uid} --gid ${uid} --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin ${name}`,
    ]),
    'cd "$root"',
    'rm -rf var/lib/apt/lists/* var/cache/apt/* var/log/* tmp/* var/tmp/*',
    'rm -f etc/*- etc/.pwd.lock etc/hostname etc/resolv.conf etc/apt/sources.list',
    'rm -f var/lib/dpkg/*-old var/cache/debconf/*-old var/cache/ldconfig/aux-cache',
    ': > etc/machine-id',
    '',
  ].join('\n')
}

/** mmdebstrap's tar (sorted, numeric owners, times clamped) in the one form of Kiln's writer, without devices. */
async function* rootLayer(path: string): AsyncGenerator<TarOutput> {
  for await (const { body, entry } of readTar(createReadStream(path))) {
    const name = entry.name.replace(/^\.\//, '')
    if (name === '' || /^(dev|proc|sys)\/./.test(name)) continue
    const linkname = entry.type === 'link' ? entry.linkname.replace(/^\.\//, '') : entry.linkname
    yield { entry: { ...entry, name, linkname }, body }
  }
}

function compareInstalled(listing: string, packages: readonly LockedPackage[]): void {
  const installed = new Map(
    listing
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t') as [string, string]),
  )
  const missing = packages.find(({ name, version }) => installed.get(name) !== version)
  if (missing !== undefined) {
    throw new KilnError(
      'lock_mismatch',
      `${missing.name}: the lock says ${missing.version}, installed was ${installed.get(missing.name) ?? 'nothing'}`,
      { place: 'template.lock' },
    )
  }
  if (installed.size !== packages.length) {
    const locked = new Set(packages.map(({ name }) => name))
    const extra = [...installed.keys()].filter((name) => !locked.has(name))
    throw new KilnError('lock_mismatch', `installed but not in the lock: ${extra.join(', ')}`, {
      place: 'template.lock',
    })
  }
}

function explainFailure(stderr: string): KilnError {
  const lines = lastLines(stderr)
  if (/unmet dependencies|Unable to locate package|has no installation candidate/.test(stderr)) {
    return new KilnError('lock_mismatch', 'the lock lacks a package that others in it need', {
      place: 'template.lock',
      lines,
    })
  }
  if (/can neither be executed natively/.test(stderr)) {
    return new KilnError('prerequisite_missing', 'this machine cannot run programs for amd64', {
      fix: 'lock and build templates on an amd64 machine; arm64 is not supported yet',
      lines,
    })
  }
  if (/Operation not permitted|must be root|Permission denied/.test(stderr)) {
    return new KilnError('prerequisite_missing', 'making a root file system needs root', {
      fix: 'run Kiln as root, or take a store that already holds this template',
      lines,
    })
  }
  return new KilnError('internal', 'mmdebstrap failed', { lines })
}
