import { createPrivateKey } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Client } from '../../src/api/client.ts'
import { createDocker } from '../../src/docker/client.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'
import { containersOf } from './record.ts'

export type Secret = { name: string; bytes: Buffer }

/** What a Kiln must keep to itself, in every form that it may be written in. */
export async function secretsOf(kiln: KilnAtHand): Promise<Secret[]> {
  const token = (await readFile(join(kiln.home, 'token'), 'utf8')).trim()
  const passwords = JSON.parse(
    await readFile(join(kiln.home, 'credentials.json'), 'utf8'),
  ) as Record<string, string | number>
  const texts = Object.entries({ token, ...passwords })
    .filter((pair): pair is [string, string] => typeof pair[1] === 'string')
    .flatMap(([name, text]) => [
      { name, bytes: Buffer.from(text) },
      { name: `${name}, decoded`, bytes: Buffer.from(text, 'base64url') },
      { name: `${name} as Basic`, bytes: Buffer.from(btoa(`${name}:${text}`)) },
      { name: `${name} as base64`, bytes: Buffer.from(btoa(text)) },
    ])
  const keys = await readdir(join(kiln.home, 'keys'))
  const pems = keys.filter((file) => file.endsWith('.pem'))
  const signing = await Promise.all(pems.map((file) => keySecrets(join(kiln.home, 'keys', file))))
  return [...texts, ...signing.flat()]
}

async function keySecrets(path: string): Promise<Secret[]> {
  const { d = '' } = createPrivateKey(await readFile(path)).export({ format: 'jwk' })
  const bytes = Buffer.from(d, 'base64url')
  const forms = [
    bytes,
    ...(['base64url', 'base64', 'hex'] as const).map((form) => Buffer.from(bytes.toString(form))),
  ]
  const pem = (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '')
  const [, , second = pem[1] ?? ''] = pem
  return [...forms, Buffer.from(second)].map((form) => ({ name: path, bytes: form }))
}

export type Place = { place: string; leaks: string[]; canary: boolean }

/** Looks through every kind of place for the secrets, and for one word that is known to be there. */
export async function places(
  kiln: KilnAtHand,
  api: Client,
  { secrets, canary }: { secrets: readonly Secret[]; canary: string },
): Promise<Place[]> {
  const at = (...parts: string[]) => join(kiln.home, ...parts)
  // Entries hold hashes, signatures and public keys alone.
  const pem = await readFile(at('trust/promote.pub'), 'utf8')
  const key = pem.replace(/-----[A-Z ]+-----|\n/g, '')
  // The index is written when somebody asks: answers come first.
  const sources: [string, AsyncIterable<Buffer>, string?][] = [
    ['answers', answers(api)],
    ['containers', containers(kiln)],
    ['logs', filesBelow(at('logs'))],
    ['blobs', filesBelow(at('store/blobs'))],
    ['bundles', filesBelow(at('store/bundles'))],
    ['entries', filesBelow(at('store/tile')), key],
    ['Temporal', filesBelow(at('temporal'))],
    ['index', filesBelow(at('index'))],
  ]
  const found: Place[] = []
  for (const [place, contents, control = canary] of sources) {
    const leaks = new Set<string>()
    let seen = false
    for await (const bytes of contents) {
      seen ||= holds(bytes, Buffer.from(control))
      for (const secret of secrets) if (bytes.includes(secret.bytes)) leaks.add(secret.name)
    }
    found.push({ place, leaks: [...leaks], canary: seen })
  }
  return found
}

/** The word as it is, or inside a signed envelope, whose payload is in base64: one of three alignments. */
function holds(bytes: Buffer, word: Buffer): boolean {
  const encoded = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), word]).toString('base64')
    return text.slice(shift === 0 ? 0 : 4, -4)
  })
  return bytes.includes(word) || encoded.some((text) => bytes.includes(text))
}

/** What this Kiln wrote: files that share their bytes with the test's templates are not its own. */
async function* filesBelow(folder: string): AsyncIterable<Buffer> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isFile() || (await stat(path)).nlink > 1) continue
    const bytes = await readFile(path)
    yield bytes
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) yield gunzipSync(bytes)
  }
}

async function* containers(kiln: KilnAtHand): AsyncIterable<Buffer> {
  const docker = createDocker({ socketPath: '/var/run/docker.sock' })
  for (const { id } of await containersOf(kiln)) {
    const container = docker.getContainer(id)
    const inspected = await container.inspect()
    yield Buffer.from(JSON.stringify(inspected))
    yield Buffer.from(JSON.stringify(await docker.getImage(inspected.Image).inspect()))
    yield await container.logs({ stdout: true, stderr: true, follow: false })
  }
}

async function* answers(api: Client): AsyncIterable<Buffer> {
  const prod = { params: { app: 'hello', environment: 'test' } }
  const calls: (() => Promise<unknown>)[] = [
    () => api.status({}),
    () => api.operations({ query: {} }),
    () => api.environments({}),
    () => api.environment(prod),
    () => api.history({ ...prod, query: {} }),
    () => api.candidates(prod),
    () => api.artifacts({ query: {} }),
    () => api.instanceLogs({ ...prod, query: {} }),
    () => api.key({ params: { ...prod.params, sequence: 1 } }),
    () => api.watches({}),
    () => api.openapi({}),
    () => api.checkpoint({}),
  ]
  for (const call of calls) yield Buffer.from(JSON.stringify(await call()))
}
