import type { ContainerInspectInfo } from 'dockerode'
import { createHash } from 'node:crypto'
import { constants, type BigIntStats } from 'node:fs'
import { lstat, open, readdir } from 'node:fs/promises'
import { KilnError } from '../domain/error.ts'
import { callDocker, statusOf, type DockerClient } from '../docker/client.ts'
import { readTar } from '../oci/tar-reader.ts'
import { encodeName } from '../oci/entry-name.ts'
import { errnoOf } from '../store/disk-error.ts'
import type { LayerEntry } from './file-drift.ts'

/** More than this is drift beyond doubt, and need not all be looked at. */
const entryLimit = 1000
/** Larger files are told by their size. */
const readLimit = 64 * 1024 * 1024

/** What a running container's writable layer holds, at most a thousand entries. Empty: nothing was written. */
export async function writableLayer(
  docker: DockerClient,
  info: Pick<ContainerInspectInfo, 'Id' | 'GraphDriver'>,
): Promise<LayerEntry[]> {
  const { Name, Data } = info.GraphDriver as { Name: string; Data?: Record<string, string> | null }
  const upper = Name === 'overlay2' ? Data?.['UpperDir'] : undefined
  const read = upper === undefined ? null : await readFolder(upper)
  return read ?? askEngine(docker, info.Id)
}

/** The overlay's own folder; null when this process may not read it, or the engine runs elsewhere. */
async function readFolder(root: string): Promise<LayerEntry[] | null> {
  const entries: LayerEntry[] = []
  const top = await namesIn(root, '')
  if (top === null) return null
  const waiting = top
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (entries.length >= entryLimit) break
    const entry = await readEntry(root, path)
    if (entry === null) continue
    entries.push(entry)
    if (entry.type === 'directory') waiting.push(...((await namesIn(root, path)) ?? []))
  }
  return entries
}

/** Paths of what is in a folder; null when it cannot be read, or is gone. */
async function namesIn(root: string, path: string): Promise<string[] | null> {
  try {
    const names = await readdir(at(root, path), { encoding: 'buffer' })
    return names.map((name) => (path === '' ? '' : `${path}/`) + name.toString('latin1'))
  } catch (error) {
    if (unreadable.has(errnoOf(error) ?? '')) return null
    throw error
  }
}

const unreadable = new Set(['ENOENT', 'EACCES', 'ENOTDIR'])

function at(root: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')])
}

/** Null when it is gone again. */
async function readEntry(root: string, path: string): Promise<LayerEntry | null> {
  try {
    const stat = await lstat(at(root, path), { bigint: true })
    const facts = { mode: modeOf(Number(stat.mode)), owner: `${stat.uid}:${stat.gid}` }
    if (stat.isDirectory()) return { path, type: 'directory', ...facts }
    if (stat.isSymbolicLink()) return { path, type: 'symlink' }
    if (isWhiteout(stat)) return { path, type: 'whiteout' }
    if (!stat.isFile()) return { path, type: 'other' }
    const size = Number(stat.size)
    const digest = size > readLimit ? null : await digestOfFile(at(root, path))
    return { path, type: 'file', size, ...facts, digest }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null
    throw error
  }
}

function modeOf(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0')
}

/** The overlay hides a removed path by a character device 0:0. */
function isWhiteout(stat: BigIntStats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0n
}

/** Never through a link, and never stuck in a pipe, whatever somebody puts there meanwhile. */
async function digestOfFile(path: Buffer): Promise<string | null> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    if (!(await file.stat()).isFile()) return null
    const hash = createHash('sha256')
    for await (const part of file.createReadStream({ end: readLimit, autoClose: false })) {
      hash.update(part as Buffer)
    }
    return `sha256:${hash.digest('hex')}`
  } finally {
    await file.close()
  }
}

const kinds = ['changed', 'added', 'removed'] as const

/** The engine's own comparison, for hosts that may not read its folders. */
async function askEngine(docker: DockerClient, id: string): Promise<LayerEntry[]> {
  const container = docker.getContainer(id)
  // What is no list is the engine's `null`: there are none.
  const told: unknown = await callDocker(() => container.changes())
  const changes = Array.isArray(told) ? (told as { Path: string; Kind: 0 | 1 | 2 }[]) : []
  const entries: LayerEntry[] = []
  for (const { Path, Kind } of changes.slice(0, entryLimit)) {
    const path = encodeName(Path.slice(1))
    if (kinds[Kind] === 'removed') entries.push({ path, type: 'whiteout' })
    else entries.push(await askEntry(docker, id, Path))
  }
  return entries
}

async function askEntry(docker: DockerClient, id: string, path: string): Promise<LayerEntry> {
  const name = encodeName(path.slice(1))
  const gone: LayerEntry = { path: name, type: 'whiteout' }
  try {
    const archive = await archiveOf(docker, id, path)
    if (archive === null) return { path: name, type: 'unread' }
    for await (const { entry, body } of readTar(archive)) {
      const facts = { mode: modeOf(entry.mode), owner: `${entry.uid}:${entry.gid}` }
      if (entry.type === 'directory') return { path: name, type: 'directory', ...facts }
      if (entry.type === 'symlink') return { path: name, type: 'symlink' }
      if (entry.type !== 'file') return { path: name, type: 'other' }
      const { size } = entry
      if (size > readLimit) return { path: name, type: 'file', size, ...facts, digest: null }
      const hash = createHash('sha256')
      for await (const part of body) hash.update(part)
      return { path: name, type: 'file', size, ...facts, digest: `sha256:${hash.digest('hex')}` }
    }
    return gone
  } catch (error) {
    if (error instanceof KilnError && error.code === 'not_found') return gone
    throw error
  }
}

/** Null where an authorization plugin such as Kiln's guard lets nobody at the files of instances. */
async function archiveOf(
  docker: DockerClient,
  id: string,
  path: string,
): Promise<AsyncIterable<Uint8Array> | null> {
  try {
    const archive = await docker.getContainer(id).getArchive({ path })
    return archive as AsyncIterable<Uint8Array>
  } catch (error) {
    if (statusOf(error) === 403) return null
    return callDocker(() => Promise.reject(error))
  }
}
