import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { KilnError } from '../src/domain/error.ts'
import { roles } from '../src/domain/role.ts'
import { verifierKey } from './checkpoint.ts'
import { publicKeyOf } from './public-key.ts'
import {
  checkTrustRoot,
  currentKey,
  derOf,
  fingerprintOf,
  sigstoreTrustedRoot,
  type RoleKey,
  type TrustRoot,
} from './trust.ts'

/**
 * The public half, as files: roles.json, one PEM for each role's current key, those of keys whose range
 * has ended under retired/, trusted_root.json, log.vkey.
 */
export async function writeTrust(directory: string, trust: TrustRoot): Promise<void> {
  const retired = join(directory, 'retired')
  await mkdir(retired, { recursive: true, mode: 0o755 })
  for (const key of trust.roles) {
    if (key.validTo !== null) await replace(join(directory, publicKeyFile(key)), pemOf(key))
  }
  for (const role of roles) {
    await replace(join(directory, `${role}.pub`), pemOf(currentKey(trust, role)))
  }
  await replace(join(directory, 'trusted_root.json'), pretty(sigstoreTrustedRoot(trust)))
  const logKey = publicKeyOf(derOf(trust.logKey))
  await replace(join(directory, 'log.vkey'), `${verifierKey(trust.origin, logKey)}\n`)
  await replace(join(directory, 'roles.json'), pretty(trust))
}

/** Throws `prerequisite_missing` when there is none, `verification_failed` when it is not a trust root. */
export async function readTrust(directory: string): Promise<TrustRoot> {
  const path = join(directory, 'roles.json')
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new KilnError('prerequisite_missing', `no trust root at ${path}`, {
      cause: error,
      fix: 'kiln up makes one on its first start',
    })
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new KilnError('verification_failed', `${path} is not JSON`, { cause: error, place: path })
  }
  return checkTrustRoot(json)
}

/** Where `writeTrust` puts a key's public half: `<role>.pub`, or `retired/<role>-<beginning of its fingerprint>.pub`. */
export function publicKeyFile(key: RoleKey): string {
  if (key.validTo === null) return `${key.role}.pub`
  const beginning = fingerprintOf(key).slice('sha256:'.length, 'sha256:'.length + 12)
  return `retired/${key.role}-${beginning}.pub`
}

function pemOf({ publicKey }: RoleKey): string {
  return String(publicKeyOf(derOf(publicKey)).export({ format: 'pem', type: 'spki' }))
}

function pretty(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

/** A reader sees the old file or the new one, whole. */
async function replace(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', 0o644)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}
