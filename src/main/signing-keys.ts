import { roleKeyFrom } from '../../signing/keys.ts'
import { withNextKey } from '../../signing/role-history.ts'
import type { SignerClient } from '../../signing/signer-client.ts'
import type { KeyPlace } from '../../signing/signing-key.ts'
import { currentKey, fingerprintOf, type RoleKey, type TrustRoot } from '../../signing/trust.ts'
import type { SigningKeys, SigningKeyView } from '../api/ports.ts'
import { authorize } from '../domain/authorize.ts'
import { KilnError } from '../domain/error.ts'
import type { Role } from '../domain/role.ts'
import type { NextRoles } from '../ledger/change-roles.ts'
import type { LedgerWriter } from '../ledger/ledger-writer.ts'

type Deps = { ledger: LedgerWriter; signer: Pick<SignerClient, 'nextKey' | 'keyPlaces'> }

/** The signing keys, as the log names them, and where the signer has them. */
export function createSigningKeys(deps: Deps): SigningKeys {
  const { follow } = signingKeysInLog(deps)
  async function list(): Promise<SigningKeyView[]> {
    await deps.ledger.refresh()
    const places = await placesKnown(deps.signer)
    const { roles } = deps.ledger.trust()
    return roles.map((key) => ({ ...rangeOf(key), place: places.get(key.keyHint) ?? null }))
  }
  return {
    list,
    async rotate({ principal }, { role, replaces, kms }) {
      const verdict = authorize(principal, 'rotate-signing-key', `the ${role} key`)
      if (!verdict.allowed)
        throw new KilnError('forbidden', verdict.message, { place: verdict.rule })
      await follow({ role, fingerprint: replaces }, kms)
      return list()
    },
  }
}

/** What the log says is told without the signer, too. */
async function placesKnown({ keyPlaces }: Deps['signer']): Promise<ReadonlyMap<string, KeyPlace>> {
  try {
    return await keyPlaces()
  } catch (error) {
    if (error instanceof KilnError && error.code === 'signer_unavailable') return new Map()
    throw error
  }
}

type KeyRange = ReturnType<typeof rangeOf>

/** The same without asking who may: rotation is a new list of roles in the log. */
export function signingKeysInLog({
  ledger,
  signer,
}: {
  ledger: LedgerWriter
  signer: Pick<SignerClient, 'nextKey'>
}) {
  return {
    async list(): Promise<KeyRange[]> {
      await ledger.refresh()
      return ledger.trust().roles.map(rangeOf)
    },
    /**
     * Gives the role a new key, unless this one was followed before: the one in AWS's KMS with this ARN, else one
     * of the signer's own. Throws `not_found` when the role never had it.
     */
    async follow(
      { role, fingerprint }: Pick<KeyRange, 'role' | 'fingerprint'>,
      kms: string | null = null,
    ) {
      await ledger.refresh()
      demandOwn(ledger.trust(), role, fingerprint)
      await ledger.changeRoles(async (trust, at) => {
        if (fingerprintOf(currentKey(trust, role)) !== fingerprint)
          return vouching(ledger)(trust, at)
        return withNextKey(trust, roleKeyFrom(role, await signer.nextKey(role, kms), at + 1), at)
      })
    },
  }
}

/**
 * What the log must say before all else: its first list of roles; and after a root was followed, that the
 * new one vouches for the list, so that verifiers can pin it.
 */
export function vouching(ledger: Pick<LedgerWriter, 'roles'>): NextRoles {
  return async (trust) => {
    const root = fingerprintOf(currentKey(trust, 'root'))
    return ledger.roles().roots.includes(root) ? null : trust
  }
}

/** A key that was replaced before is no error: the same request again changes nothing. */
function demandOwn({ roles }: TrustRoot, role: Role, replaces: string): void {
  if (roles.some((key) => key.role === role && fingerprintOf(key) === replaces)) return
  throw new KilnError('not_found', `the ${role} role never had the key ${replaces}`, {
    fix: 'kiln signing list shows the keys',
  })
}

function rangeOf(key: RoleKey) {
  const { role, validFrom, validTo } = key
  return { role, fingerprint: fingerprintOf(key), from: validFrom, to: validTo }
}
