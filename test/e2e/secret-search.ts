import { createPrivateKey } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** Something that must be nowhere, in one form that it may be written in. */
export type Secret = { name: string; bytes: Buffer }

/** A text in the forms that programs write it in. */
export function formsOf(name: string, text: string): Secret[] {
  return [
    { name, bytes: Buffer.from(text) },
    {
      name: `${name} as base64`,
      bytes: Buffer.from(Buffer.from(text).toString('base64').slice(0, -4)),
    },
    { name: `${name} as hex`, bytes: Buffer.from(Buffer.from(text).toString('hex')) },
    { name: `${name} in an address`, bytes: Buffer.from(encodeURIComponent(text)) },
  ]
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

/** Everything that a Kiln left in its home, in one pass: each file that holds one of its own secrets. */
export async function leaksIn(home: string, more: readonly Secret[] = []): Promise<string[]> {
  const secrets = [...(await ownSecrets(home)), ...more]
  const leaks: string[] = []
  for (const entry of await readdir(home, { withFileTypes: true }).catch(() => [])) {
    if (safes.includes(entry.name)) continue
    const path = join(home, entry.name)
    for await (const { path: at, bytes } of entry.isDirectory()
      ? filesBelow(path)
      : oneFile(path)) {
      for (const name of foundIn(bytes, secrets)) leaks.push(`${name} in ${at}`)
    }
  }
  return leaks
}

export type FileContent = { path: string; bytes: Buffer }

async function* oneFile(path: string): AsyncIterable<FileContent> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isFile() !== true) return
  const bytes = await readFile(path)
  yield { path, bytes }
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) yield { path, bytes: gunzipSync(bytes) }
}

/** Files that share their bytes with the test's templates are not this Kiln's own. */
export async function* filesBelow(folder: string): AsyncIterable<FileContent> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name)
    const found = entry.isFile() ? await stat(path).catch(() => undefined) : undefined
    if (found !== undefined && found.nlink === 1) yield* oneFile(path)
  }
}
