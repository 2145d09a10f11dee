import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmod, mkdir, mkdtemp, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KilnError } from '../src/domain/error.ts'
import { roles, type Role } from '../src/domain/role.ts'
import { toBase64 } from './base64.ts'
import { encodeState, stateFile, type SignedCheckpoint } from './checkpoint-state.ts'
import { decodeKey, encodeKey, isEncrypted, publicHalf, referenceIn } from './key-file.ts'
import type { Kms } from './kms-key.ts'
import { keyHintOf, spkiOf } from './public-key.ts'
import { localKey, type SigningKey } from './signing-key.ts'
import { currentKey, derOf, type TrustRoot } from './trust.ts'

/** The signing keys of a new log; their private halves never leave the signer's process. */
export type SignerKeys = { roles: Readonly<Record<Role, SigningKey>>; log: KeyObject }

export const keyNames = [...roles, 'log'] as const

/** Key files as they are made where nobody says otherwise: not encrypted, and none in a KMS. */
export const inTheClear: KeyAccess = {
  passphrase: null,
  kms: () =>
    Promise.reject(new KilnError('prerequisite_missing', 'a key is in KMS, and no KMS is known')),
}

/** What it takes to open the key files. */
export type KeyAccess = {
  /** Null: they are not encrypted, and new ones are not. */
  passphrase: string | null
  /** Asked for when a file names a key in AWS's KMS. */
  kms: () => Promise<Kms>
}

/**
 * Reads the signing keys, or makes them on the first start: one folder, 0700, that comes into being
 * whole with every key (PKCS8 PEM, 0600, encrypted where a passphrase is given) and the empty checkpoint
 * state, and is never overwritten. Throws `prerequisite_missing` when a key is missing, unreadable, open to
 * other users or under another passphrase. Nothing is asked of a KMS before its key signs.
 */
export async function openKeys(
  directory: string,
  origin: string,
  access: KeyAccess = inTheClear,
): Promise<SignerKeys> {
  const { passphrase } = access
  if (!(await exists(join(directory, fileOf('log'))))) {
    await createKeys(directory, { origin, passphrase })
  }
  await checkClosed(directory)
  const entries = await Promise.all(
    roles.map(
      async (role) => [role, await readSigningKey(join(directory, fileOf(role)), access)] as const,
    ),
  )
  const log = await readPem(join(directory, fileOf('log')), passphrase)
  return { roles: Object.fromEntries(entries) as Record<Role, SigningKey>, log }
}

/** The trust root of keys that sign from the log's beginning. */
export function trustRootOf(keys: SignerKeys, origin: string): TrustRoot {
  return {
    origin,
    logKey: toBase64(spkiOf(createPublicKey(keys.log))),
    roles: roles.map((role) => roleKeyFrom(role, keys.roles[role].publicKey, 0)),
  }
}

/** A role's key as the list of roles names it, from a log index on. */
export function roleKeyFrom(
  role: Role,
  publicKey: Uint8Array,
  validFrom: number,
): TrustRoot['roles'][number] {
  return {
    role,
    publicKey: toBase64(publicKey),
    keyHint: keyHintOf(publicKey),
    validFrom,
    validTo: null,
  }
}

export function fileOf(name: Role | 'log'): string {
  return `${name}.pem`
}

/** Where the key that shall follow a role's waits until the log says so. */
export function nextFileOf(role: Role): string {
  return `${role}-next.pem`
}

/** A new role key as its file holds it. */
export function newRolePem(passphrase: string | null): string {
  return encodeKey(generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey, passphrase)
}

/**
 * Encrypts every key of the folder that is not encrypted yet; gives the names of those files. The caller
 * owns the folder. Killed in between, some are and some are not: the signer opens both, and again does the rest.
 */
export async function encryptKeys(directory: string, passphrase: string): Promise<string[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.pem')).toSorted()
  const encrypted: string[] = []
  for (const name of names) {
    const path = join(directory, name)
    const content = await readFile(path, 'utf8')
    if (referenceIn(content) !== null) continue
    const key = await readPem(path, passphrase)
    if (isEncrypted(content)) continue
    await placeKeyFile(directory, { name, content: encodeKey(key, passphrase) })
    encrypted.push(name)
  }
  return encrypted
}

async function createKeys(
  directory: string,
  { origin, passphrase }: { origin: string; passphrase: string | null },
): Promise<void> {
  const log = encodeKey(generateKeyPairSync('ed25519').privateKey, passphrase)
  const files = keyNames.map((name) => ({
    name: fileOf(name),
    content: name === 'log' ? log : newRolePem(passphrase),
  }))
  await placeKeys(directory, files, { origin, last: null })
}

/** A file of the keys folder. */
export type KeyFile = { name: string; content: string }

/** Throws `verification_failed` unless the files are the private halves of the current keys of the trust root. */
export function demandKeysOf(trust: TrustRoot, files: readonly KeyFile[]): void {
  for (const name of keyNames) {
    const wanted = name === 'log' ? trust.logKey : currentKey(trust, name).publicKey
    // A signer that was killed while one key took the place of another left the new one waiting.
    const places = name === 'log' ? [fileOf(name)] : [fileOf(name), nextFileOf(name)]
    const found = files.filter((file) => places.includes(file.name))
    if (!found.some(({ content }) => publicHalf(content) === wanted)) {
      throw new KilnError(
        'verification_failed',
        `${fileOf(name)} is not the key of the trust root`,
        {
          place: fileOf(name),
          fix: 'if a key was just rotated, do it again; if the key is lost, kiln signing rotate <role>',
        },
      )
    }
  }
}

/** Makes the folder of keys, whole or not at all; never over one that is there. */
export async function placeKeys(
  directory: string,
  files: readonly KeyFile[],
  state: { origin: string; last: SignedCheckpoint | null },
): Promise<void> {
  await mkdir(dirname(directory), { recursive: true })
  const temporary = await mkdtemp(`${directory}.new-`)
  try {
    await chmod(temporary, 0o700)
    for (const { name, content } of files) await write(join(temporary, name), content)
    await write(join(temporary, stateFile), encodeState(state))
    await syncFolder(temporary)
    await rename(temporary, directory)
    await syncFolder(dirname(directory))
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    throw refused(`no signing keys in ${directory}, and they could not be made`, error)
  }
}

/** One file of the keys folder, durable and whole when it resolves; before that the one of before. */
export async function placeKeyFile(directory: string, { name, content }: KeyFile): Promise<void> {
  const temporary = join(directory, `${name}.new`)
  await rm(temporary, { force: true })
  await write(temporary, content)
  await moveKeyFile(directory, `${name}.new`, name)
}

/** Renames, over what is there; durable when it resolves. */
export async function moveKeyFile(directory: string, from: string, to: string): Promise<void> {
  await rename(join(directory, from), join(directory, to))
  await syncFolder(directory)
}

async function write(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

export async function readSigningKey(
  path: string,
  { passphrase, kms }: KeyAccess,
): Promise<SigningKey> {
  await checkClosed(path)
  const content = await readFile(path, 'utf8')
  const arn = referenceIn(content)
  if (arn === null) {
    const kind = isEncrypted(content) ? 'encrypted-file' : 'file'
    return localKey(decodeKey(content, passphrase, path), kind)
  }
  const half = publicHalf(content)
  if (half === null) throw refused(`${path} names a key in a KMS, and not its public half`)
  return (await kms()).pinned(arn, derOf(half))
}

async function readPem(path: string, passphrase: string | null): Promise<KeyObject> {
  await checkClosed(path)
  return decodeKey(await readFile(path, 'utf8'), passphrase, path)
}

async function checkClosed(path: string): Promise<void> {
  const { mode } = await stat(path).catch((error: unknown) => {
    throw refused(`${path} cannot be read`, error)
  })
  if ((mode & 0o077) !== 0) {
    throw new KilnError('prerequisite_missing', `${path} is open to other users`, {
      fix: `chmod go= ${path}`,
    })
  }
}

function refused(message: string, cause?: unknown): KilnError {
  return new KilnError('prerequisite_missing', message, {
    cause,
    fix: 'restore the keys folder from its backup; without it the log cannot go on',
  })
}
