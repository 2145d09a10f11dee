import { execa } from 'execa'
import { createPrivateKey } from 'node:crypto'
import { lstat, mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'

/** Something that must be nowhere, in one form that it may be written in. */
export type Secret = { name: string; bytes: Buffer }

/** A text in the forms that programs write it in. */
export function formsOf(name: string, text: string): Secret[] {
  const inAddress = encodeURIComponent(text)
  return [
    { name, bytes: Buffer.from(text) },
    ...inBase64(text).map((one) => ({ name: `${name} as base64`, bytes: Buffer.from(one) })),
    { name: `${name} as hex`, bytes: Buffer.from(Buffer.from(text).toString('hex')) },
    ...(inAddress === text
      ? []
      : [{ name: `${name} in an address`, bytes: Buffer.from(inAddress) }]),
  ]
}

/** What stands in base64 of any text that holds this one, as the payload of a signed envelope does: three alignments. */
function inBase64(text: string): string[] {
  return [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), Buffer.from(text)])
      .toString('base64')
      .slice(shift === 0 ? 0 : 4, -4),
  )
}

/** Tokens, passwords and signing keys of a Kiln's home; none where the home has none any more. */
export async function ownSecrets(home: string): Promise<Secret[]> {
  const token = await readFile(join(home, 'token'), 'utf8').catch(() => '')
  const passwords = JSON.parse(
    await readFile(join(home, 'credentials.json'), 'utf8').catch(() => '{}'),
  ) as Record<string, string | number>
  const texts = Object.entries({ token: token.trim(), ...passwords }).flatMap(([name, text]) =>
    typeof text !== 'string' || text === ''
      ? []
      : [
          ...formsOf(name, text),
          { name: `${name}, decoded`, bytes: Buffer.from(text, 'base64url') },
          { name: `${name} as Basic`, bytes: Buffer.from(btoa(`${name}:${text}`)) },
        ],
  )
  const names = await readdir(join(home, 'keys')).catch(() => [])
  const pems = names.filter((name) => name.endsWith('.pem'))
  const keys = await Promise.all(pems.map((name) => keySecrets(join(home, 'keys', name))))
  return [...texts, ...keys.flat()]
}

async function keySecrets(path: string): Promise<Secret[]> {
  const pem = await readFile(path, 'utf8')
  if (pem.includes('ENCRYPTED')) return []
  const { d = '' } = createPrivateKey(pem).export({ format: 'jwk' })
  const bytes = Buffer.from(d, 'base64url')
  const texts = (['base64url', 'base64', 'hex'] as const).map((form) => bytes.toString(form))
  const lines = pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'))
  // The first line of a longer key says only of what kind it is; a short key has no second one.
  const own = lines[1] ?? lines[0] ?? ''
  return [bytes, ...[...texts, own].filter((one) => one !== '').map((one) => Buffer.from(one))].map(
    (form) => ({ name: path, bytes: form }),
  )
}

/** The names of the secrets that the bytes hold. */
export function foundIn(bytes: Buffer, secrets: readonly Secret[]): string[] {
  return secrets.filter((secret) => bytes.includes(secret.bytes)).map((secret) => secret.name)
}

/** Where a home's own secrets belong; everywhere else they are a leak. */
const safes = ['token', 'credentials.json', 'docker-config', 'keys', 'secrets', 'repositories']

/** Where no secret may be. What is not looked at must not pass for clean: `control`, a part of it, is found there. */
export type Place = { name: string; paths: readonly string[] }

type Wanted = {
  secrets: readonly Secret[]
  /** What is no secret, and has to be found in each place, as it is or in base64. */
  control: readonly string[]
  /** Folder for what is expanded; made, and removed again. */
  scratch: string
  /** Whether a file is none of this Kiln's own. */
  isOthers: (path: string) => boolean
}

/**
 * Each secret that lies in a file of one of the places, as it is or in gzip or zstd; and each place in which
 * not even the control was found.
 */
export async function searchPlaces(places: readonly Place[], wanted: Wanted): Promise<string[]> {
  const { secrets, control, scratch, isOthers } = wanted
  await mkdir(scratch, { recursive: true, mode: 0o700 })
  const patterns = {
    secrets: join(scratch, 'secrets'),
    control: join(scratch, 'control'),
  }
  await writeFile(patterns.secrets, patternLines(secrets.map(({ bytes }) => bytes)))
  const forms = control.flatMap((text) => [text, ...inBase64(text)])
  await writeFile(patterns.control, patternLines(forms.map((text) => Buffer.from(text))))
  const found: string[] = []
  for (const { name, paths } of places) {
    const files = new Map<string, string>()
    for (const path of paths) {
      for (const file of await ownFiles(path, isOthers)) {
        files.set(file, file)
        const expanded = await expandedTo(join(scratch, `${files.size}-${basename(file)}`), file)
        if (expanded !== null) files.set(expanded, file)
      }
    }
    for (const file of await filesWith(patterns.secrets, [...files.keys()]))
      for (const one of foundIn(await readFile(file), secrets))
        found.push(`${one} in ${files.get(file)}`)
    if ((await filesWith(patterns.control, [...files.keys()])).length === 0)
      found.push(`no control in ${name}`)
  }
  await rm(scratch, { recursive: true })
  return [...new Set(found)]
}

/** What is not to be looked through: all of a home but where its secrets belong. */
export async function homeWithout(home: string, others: readonly string[]): Promise<string[]> {
  const names = await readdir(home).catch(() => [])
  return names
    .filter((name) => ![...safes, ...others].includes(name))
    .map((name) => join(home, name))
}

/** One pattern a line; of one with a line feed in it, its longest part. */
function patternLines(patterns: readonly Buffer[]): Buffer {
  const parts = patterns.map((bytes) =>
    bytes
      .toString('latin1')
      .split('\n')
      .reduce((longest, part) => (part.length > longest.length ? part : longest)),
  )
  const short = parts.find((part) => part.length < 8)
  if (short !== undefined) throw new Error('a pattern that is found everywhere')
  return Buffer.from(parts.map((part) => `${part}\n`).join(''), 'latin1')
}

/** Those of the files that hold one of the patterns. */
async function filesWith(patterns: string, files: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (let at = 0; at < files.length; at += 1000) {
    const args = ['-laF', '-f', patterns, '--', ...files.slice(at, at + 1000)]
    const { exitCode, stdout, stderr } = await execa('grep', args, {
      env: { LC_ALL: 'C' },
      reject: false,
    })
    if (exitCode !== 0 && exitCode !== 1) throw new Error(`grep: ${stderr}`)
    found.push(...stdout.split('\n').filter((line) => line !== ''))
  }
  return found
}

/** Files that share their bytes with the test's templates are not this Kiln's own. */
async function ownFiles(
  path: string,
  isOthers: (path: string) => boolean = () => false,
): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => null)
  const paths = entries?.map((entry) => join(entry.parentPath, entry.name)) ?? [path]
  const own: string[] = []
  for (const one of paths) {
    const found = await lstat(one).catch(() => undefined)
    if (found?.isFile() === true && found.nlink === 1 && !isOthers(one)) own.push(one)
  }
  return own
}

const magic = { gzip: Buffer.from('1f8b', 'hex'), zstd: Buffer.from('28b52ffd', 'hex') }

/** Writes what a compressed file holds to `to`; null when it is none. */
async function expandedTo(to: string, path: string): Promise<string | null> {
  const file = await open(path)
  const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0).finally(() => file.close())
  const form = buffer.subarray(0, 2).equals(magic.gzip)
    ? gunzipSync
    : buffer.equals(magic.zstd)
      ? zstdDecompressSync
      : null
  if (form === null) return null
  await writeFile(to, form(await readFile(path)))
  return to
}

/** The bytes of each file below a folder, and of what is compressed what it holds. */
export async function* bytesBelow(folder: string): AsyncIterable<Buffer> {
  for (const path of await ownFiles(folder)) {
    const bytes = await readFile(path)
    yield bytes
    if (bytes.subarray(0, 2).equals(magic.gzip)) yield gunzipSync(bytes)
  }
}
