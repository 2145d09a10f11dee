import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmod, mkdir, mkdtemp, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KilnError } from '../src/domain/error.ts'
import { roles, type Role } from '../src/domain/role.ts'
import { toBase64 } from './base64.ts'
import { encodeState, stateFile } from './checkpoint-state.ts'
import { keyHintOf, spkiOf } from './public-key.ts'
import type { TrustRoot } from './trust.ts'

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
  await mkdir(dirname(directory), { recursive: true })
  const temporary = await mkdtemp(`${directory}.new-`)
  try {
    await chmod(temporary, 0o700)
    for (const name of names) {
      const { privateKey } =
        name === 'log'
          ? generateKeyPairSync('ed25519')
          : generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      const pem = privateKey.export({ format: 'pem', type: 'pkcs8' })
      await write(join(temporary, fileOf(name)), String(pem))
    }
    await write(join(temporary, stateFile), encodeState({ origin, last: null }))
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
