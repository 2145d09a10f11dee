import { readFile } from 'node:fs/promises'
import type { KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import { KilnError } from '../src/domain/error.ts'
import { roles, type Role } from '../src/domain/role.ts'
import { keyHintOf } from './public-key.ts'
import {
  exists,
  fileOf,
  moveKeyFile,
  newRolePem,
  nextFileOf,
  openKeys,
  placeKeyFile,
  readSigningKey,
  trustRootOf,
  type KeyAccess,
} from './keys.ts'
import { encodeReference } from './key-file.ts'
import type { PlacedKey, SigningKey } from './signing-key.ts'
import { startHistory, type RoleHistory } from './role-history.ts'
import { checkTrustRoot, currentKey, trustRootSchema } from './trust.ts'

/** What the signer knows of its own keys: the list of roles as the log last said it, durable. */
export const rolesFile = 'roles.json'

const stateForm = z.strictObject({
  version: z.literal(1),
  at: z.int().nonnegative(),
  counted: z.array(z.int().nonnegative()),
  roots: z.array(z.string()),
  trust: trustRootSchema,
})

/** The keys folder while the signer has it open. */
export type KeyFolder = {
  log: KeyObject
  /** The list of roles that the log is known to hold; before it holds one, that of the keys as they are. */
  history: () => RoleHistory
  /** The role's current key. Throws `refused` when its private half is not here. */
  keyOf: (role: Role) => SigningKey
  /**
   * The key that shall follow the role's, durable; the same one until the log has named it. `kms`: the ARN of a
   * key in AWS's KMS, null for a new one of one's own. Throws as `Kms.find` does, `refused` when another waits.
   */
  next: (role: Role, kms: string | null) => Promise<SigningKey>
  /** Where the private halves of the roles' keys are. */
  places: () => PlacedKey[]
  /** The key that waits, if there is one. */
  waiting: (role: Role) => SigningKey | undefined
  /** From now on keys sign as the history says; the private half of a key that was followed is gone. */
  settle: (history: RoleHistory) => Promise<void>
}

/** Throws `prerequisite_missing` as `openKeys` does, `ledger_corrupt` when what the log said of the keys is unreadable. */
export async function openKeyFolder(options: {
  directory: string
  origin: string
  access: KeyAccess
  crashPoint: (name: string) => void
}): Promise<KeyFolder> {
  const { directory, origin, access, crashPoint } = options
  const { log, roles: own } = await openKeys(directory, origin, access)
  const current = new Map<Role, SigningKey>(Object.entries(own) as [Role, SigningKey][])
  const waiting = new Map<Role, SigningKey>()
  for (const role of roles) {
    const path = join(directory, nextFileOf(role))
    if (await exists(path)) waiting.set(role, await readSigningKey(path, access))
  }
  let history =
    (await readState(directory)) ?? startHistory(trustRootOf({ log, roles: own }, origin))

  /** What waited and is named by now takes the other's place; a killed signer ends it at its next start. */
  async function promoteNamed(): Promise<void> {
    for (const [role, key] of waiting) {
      if (currentKey(history.trust, role).keyHint !== keyHintOf(key.publicKey)) continue
      await moveKeyFile(directory, nextFileOf(role), fileOf(role))
      current.set(role, key)
      waiting.delete(role)
    }
  }
  await promoteNamed()

  return {
    log,
    history: () => history,
    places: () =>
      [...current.values()].map(({ publicKey, place }) => ({
        keyHint: keyHintOf(publicKey),
        place,
      })),
    waiting: (role) => waiting.get(role),
    keyOf(role) {
      const key = current.get(role)
      const { keyHint } = currentKey(history.trust, role)
      if (key !== undefined && keyHint === keyHintOf(key.publicKey)) return key
      throw notHere(role)
    },
    async next(role, kms) {
      const made = waiting.get(role)
      if (made !== undefined) return demandWanted(made, role, kms)
      const name = nextFileOf(role)
      await placeKeyFile(directory, { name, content: await newKeyFile(access, kms) })
      crashPoint('signer.key-made')
      const key = await readSigningKey(join(directory, name), access)
      waiting.set(role, key)
      return key
    },
    async settle(next) {
      const content = `${JSON.stringify({ version: 1, ...next })}\n`
      await placeKeyFile(directory, { name: rolesFile, content })
      crashPoint('signer.roles-durable')
      history = next
      await promoteNamed()
    },
  }
}

async function newKeyFile({ passphrase, kms }: KeyAccess, arn: string | null): Promise<string> {
  if (arn === null) return newRolePem(passphrase)
  const { publicKey } = await (await kms()).find(arn)
  return encodeReference(arn, publicKey)
}

/** A list that names the waiting key may be signed already: it is not replaced before the log says so. */
function demandWanted(waiting: SigningKey, role: Role, kms: string | null): SigningKey {
  if (kms === null || (waiting.place.kind === 'kms' && waiting.place.arn === kms)) return waiting
  throw new KilnError('refused', `another key waits already to follow the ${role} key`, {
    place: `${role} key`,
    fix: `kiln signing rotate ${role}, without --kms, ends that rotation; then ask for this one again`,
  })
}

/** As after a restore of a backup that is older than the last rotation. Nobody but the root can name a new root. */
function notHere(role: Role): KilnError {
  return new KilnError('refused', `the private half of the ${role} key is not here`, {
    place: `${role} key`,
    fix:
      role === 'root'
        ? 'restore keys/root.pem from a backup that was made after the root was rotated: docs/signing-keys.md'
        : `kiln signing rotate ${role} gives the role a new key: docs/signing-keys.md`,
  })
}

async function readState(directory: string): Promise<RoleHistory | null> {
  const path = join(directory, rolesFile)
  if (!(await exists(path))) return null
  try {
    const { version: _, ...state } = stateForm.parse(JSON.parse(await readFile(path, 'utf8')))
    return { ...state, trust: checkTrustRoot(state.trust) }
  } catch (error) {
    throw new KilnError('ledger_corrupt', `${path} is unreadable`, {
      cause: error,
      place: path,
      fix: 'restore it from the backup of the keys; if the root was never rotated it may be removed: the server tells the signer again what the log says',
    })
  }
}
