import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmod, mkdir, mkdtemp, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KilnError } from '../src/domain/error.ts'
import { roles, type Role } from '../src/domain/role.ts'
import { toBase64 } from './base64.ts'
import { encodeState, stateFile, type SignedCheckpoint } from './checkpoint-state.ts'
import { keyHintOf, spkiOf } from './public-key.ts'
import { currentKey, type TrustRoot } from './trust.ts'

/** The private keys; they never leave the signer's process. */
export type SignerKeys = { roles: Readonly<Record<Role, KeyObject>>; log: KeyObject }

const names = [...roles, 'log'] as const

/**
 * Reads the signing keys, or makes them on the first start: one folder, 0700, that comes into being
 * whole with every key (PKCS8 PEM, 0600) and the empty checkpoint state, and is never overwritten.
 * Throws `prerequisite_missing` when a key is missing, unreadable or open to other users.
 */
export async function openKeys(directory: string, origin: string): Promise<SignerKeys> {
  if (!(await exists(join(directory, fileOf('log'))))) await createKeys(directory, origin)
  await checkClosed(directory)
  const entries = await Promise.all(
    names.map(async (name) => [name, await readKey(join(directory, fileOf(name)))] as const),
  )
  const { log, ...roleKeys } = Object.fromEntries(entries) as Record<Role | 'log', KeyObject>
  return { roles: roleKeys, log }
}

/** The trust root of keys that sign from the log's beginning. */
export function trustRootOf(keys: SignerKeys, origin: string): TrustRoot {
  return {
    origin,
    logKey: toBase64(publicDer(keys.log)),
    roles: roles.map((role) => {
      const der = publicDer(keys.roles[role])
      return {
        role,
        publicKey: toBase64(der),
        keyHint: keyHintOf(der),
        validFrom: 0,
        validTo: null,
      }
    }),
  }
}

function publicDer(privateKey: KeyObject): Uint8Array {
  return spkiOf(createPublicKey(privateKey))
}

function fileOf(name: Role | 'log'): string {
  return `${name}.pem`
}

async function createKeys(directory: string, origin: string): Promise<void> {
  const files = names.map((name) => {
    const { privateKey } =
      name === 'log'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    return {
      name: fileOf(name),
      content: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    }
  })
  await placeKeys(directory, files, { origin, last: null })
}

/** A file of the keys folder, its PEM. */
export type KeyFile = { name: string; content: string }

/** Throws `verification_failed` unless the files are the private halves of the current keys of the trust root. */
export function demandKeysOf(trust: TrustRoot, files: readonly KeyFile[]): void {
  for (const name of names) {
    const wanted = name === 'log' ? trust.logKey : currentKey(trust, name).publicKey
    const content = files.find((file) => file.name === fileOf(name))?.content ?? ''
    if (publicHalf(content) !== wanted) {
      throw new KilnError('verification_failed', `${fileOf(name)} is not the key of the trust root`)
    }
  }
}

function publicHalf(pem: string): string | null {
  try {
    return toBase64(publicDer(createPrivateKey(pem)))
  } catch {
    return null
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

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

async function readKey(path: string): Promise<KeyObject> {
  await checkClosed(path)
  try {
    return createPrivateKey(await readFile(path, 'utf8'))
  } catch {
    // The cause is left out: it may quote what was read.
    throw refused(`${path} is not a signing key`)
  }
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
