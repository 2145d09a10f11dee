import { createReadStream } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOfHex } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { parseAptSources, renderSourcesFor, type AptFile } from './apt-sources.ts'
import { lastLines, type Outcome, type Run } from './command.ts'
import type { LockedPackage } from './lock-file.ts'
import { withScratch } from './scratch.ts'

/** What apt is asked with: a root of its own, so that nothing installed or pinned here has a say. */
export type AptRoot = {
  /** Every package that installing these needs, from nothing; nothing is downloaded. */
  resolve(packages: readonly string[]): Promise<LockedPackage[]>
  /** Downloads what `resolve` named into the store. */
  download(packages: readonly string[], resolved: readonly LockedPackage[]): Promise<void>
  /** Downloads one exact version into the store; false when the mirror no longer has it. */
  downloadExactly(locked: LockedPackage): Promise<boolean>
}

export type AptInputs = {
  /** sources.list lines that take the place of the machine's own; null: the machine's. */
  sources: string | null
  suite: string
  store: BlobStore
  /** Folder for temporary files; apt's root lives there while `use` runs. */
  scratch: string
  run: Run
}

const minuteMs = 60_000

/** Makes the private root, refreshes its lists, gives it to `use`, and removes it. */
export async function withAptRoot<T>(
  inputs: AptInputs,
  use: (apt: AptRoot) => Promise<T>,
): Promise<T> {
  return await withScratch({ parent: inputs.scratch, kind: 'apt' }, async (folder) => {
    const apt = await openRoot(folder, inputs)
    await succeed(apt(['apt-get', '-q', 'update']), 'apt-get update')
    return await use(aptRoot({ ...inputs, folder, apt }))
  })
}

type Apt = (argv: readonly [string, ...string[]]) => Promise<Outcome>

async function openRoot(folder: string, { run, sources, suite }: AptInputs): Promise<Apt> {
  for (const name of ['sources', 'lists/partial', 'cache/archives/partial', 'downloads']) {
    await mkdir(join(folder, name), { recursive: true })
  }
  const files =
    sources === null ? await machineSources() : [{ path: 'settings.list', text: sources }]
  await writeFile(
    join(folder, 'sources', 'kiln.sources'),
    renderSourcesFor(suite, parseAptSources(files)),
  )
  await writeFile(join(folder, 'status'), '')
  const machine = await run({
    file: 'apt-config',
    arguments: ['dump'],
    cwd: folder,
    environment: null,
    timeoutMs: minuteMs,
  })
  await writeFile(join(folder, 'apt.conf'), aptConfiguration(folder, machine.stdout))
  const configuration = `APT_CONFIG=${join(folder, 'apt.conf')}`
  return ([file, ...argv]) =>
    run({
      file: 'env',
      arguments: [configuration, 'LC_ALL=C.UTF-8', file, ...argv],
      cwd: join(folder, 'downloads'),
      environment: null,
      timeoutMs: 10 * minuteMs,
    })
}

/** apt's own files, in its order. */
async function machineSources(): Promise<AptFile[]> {
  const folder = '/etc/apt/sources.list.d'
  const names = await readdir(folder).catch(() => [])
  const paths = [
    '/etc/apt/sources.list',
    ...names
      .filter((name) => name.endsWith('.list') || name.endsWith('.sources'))
      .toSorted()
      .map((name) => join(folder, name)),
  ]
  return await Promise.all(
    paths.map(async (path) => ({ path, text: await readFile(path, 'utf8').catch(() => '') })),
  )
}

/** The machine's way to its mirrors (proxies, certificates), and nothing else of its configuration. */
function aptConfiguration(folder: string, machine: string): string {
  const transport = machine
    .split('\n')
    .filter((line) => /^Acquire::(http|https|Retries|Check-)/i.test(line))
  return [
    'Dir::Etc::Main "/dev/null";',
    'Dir::Etc::Parts "/dev/null";',
    'Dir::Etc::SourceList "/dev/null";',
    `Dir::Etc::SourceParts "${join(folder, 'sources')}";`,
    'Dir::Etc::Preferences "/dev/null";',
    'Dir::Etc::PreferencesParts "/dev/null";',
    `Dir::State "${folder}";`,
    `Dir::State::Lists "${join(folder, 'lists')}";`,
    `Dir::State::status "${join(folder, 'status')}";`,
    `Dir::Cache "${join(folder, 'cache')}";`,
    'APT::Architecture "amd64";',
    'APT::Architectures { "amd64"; };',
    'APT::Install-Recommends "false";',
    'APT::Sandbox::User "root";',
    // Without it apt prints MD5 sums, and for some packages none at all.
    'Acquire::ForceHash "SHA256";',
    'Acquire::Languages "none";',
    // A source that does not answer is an error: what it lacks would silently not be locked.
    'APT::Update::Error-Mode "any";',
    ...transport,
    '',
  ].join('\n')
}

function aptRoot(inputs: AptInputs & { folder: string; apt: Apt }): AptRoot {
  const { apt, folder, store } = inputs
  return {
    async resolve(packages) {
      const result = await succeed(
        apt(['apt-get', '-y', '-q', '--print-uris', 'install', ...packages]),
        'apt-get --print-uris install',
      )
      return parseUris(result.stdout)
    },
    async download(packages, resolved) {
      await succeed(
        apt(['apt-get', '-y', '-q', '--download-only', 'install', ...packages]),
        'apt-get --download-only install',
      )
      for (const locked of resolved) {
        const path = await findDownload(join(folder, 'cache', 'archives'), locked)
        if (path === null) throw notDownloaded(locked)
        await storeFile(store, path, locked)
      }
    },
    async downloadExactly(locked) {
      const target = `${locked.name}=${locked.version}`
      const result = await apt(['apt-get', '-q', 'download', target])
      if (result.exitCode !== 0) return false
      const path = await findDownload(join(folder, 'downloads'), locked)
      if (path === null) return false
      await storeFile(store, path, locked)
      return true
    },
  }
}

function notDownloaded(locked: LockedPackage): KilnError {
  return new KilnError(
    'input_unavailable',
    `apt did not download ${locked.name} ${locked.version} as it promised`,
  )
}

async function findDownload(folder: string, locked: LockedPackage): Promise<string | null> {
  const start = `${locked.name}_${locked.version.replaceAll(':', '%3a')}_`
  const names = await readdir(folder)
  const name = names.find((file) => file.startsWith(start) && file.endsWith('.deb'))
  return name === undefined ? null : join(folder, name)
}

async function storeFile(store: BlobStore, path: string, locked: LockedPackage): Promise<void> {
  try {
    await store.putBlob(createReadStream(path), locked.sha256)
  } catch (error) {
    if (!(error instanceof KilnError) || error.code !== 'digest_mismatch') throw error
    throw new KilnError(
      'lock_mismatch',
      `${locked.name} ${locked.version} at the mirror is not what the lock says: ${error.message}`,
      { place: 'template.lock', cause: error },
    )
  }
}

const uriLine = /^'[^']+' (?<file>\S+) (?<size>\d+) SHA256:(?<sha256>[0-9a-f]{64})$/
const debFile = /^(?<name>[^_]+)_(?<version>[^_]+)_[^_]+\.deb$/

/** Reads `apt-get --print-uris`: no address is kept, and an entry without SHA-256 is refused. */
export function parseUris(stdout: string): LockedPackage[] {
  const entries = stdout
    .split('\n')
    .filter((line) => line.startsWith("'"))
    .map((line) => {
      const groups = uriLine.exec(line)?.groups
      const file = debFile.exec(groups?.['file'] ?? '')?.groups
      if (groups === undefined || file === undefined) {
        throw new KilnError('input_unavailable', `apt names no SHA-256 for ${line.slice(0, 200)}`)
      }
      return {
        name: file['name'] ?? '',
        version: (file['version'] ?? '').replaceAll('%3a', ':'),
        size: Number(groups['size']),
        sha256: digestOfHex(groups['sha256'] ?? ''),
      }
    })
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

async function succeed(outcome: Promise<Outcome>, what: string): Promise<Outcome> {
  const result = await outcome
  if (result.exitCode !== 0) {
    throw new KilnError('input_unavailable', `${what} failed`, {
      lines: lastLines(result.stderr || result.stdout),
    })
  }
  return result
}
