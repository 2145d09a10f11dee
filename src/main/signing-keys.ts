import { roleKeyFrom } from '../../signing/keys.ts'
import { withNextKey } from '../../signing/role-history.ts'
import type { SignerClient } from '../../signing/signer-client.ts'
import { currentKey, fingerprintOf, type RoleKey, type TrustRoot } from '../../signing/trust.ts'
import type { SigningKeys, SigningKeyView } from '../api/ports.ts'
import { authorize } from '../domain/authorize.ts'
import { KilnError } from '../domain/error.ts'
import type { Role } from '../domain/role.ts'
import type { NextRoles } from '../ledger/change-roles.ts'
import type { LedgerWriter } from '../ledger/ledger-writer.ts'

type Deps = { ledger: LedgerWriter; signer: Pick<SignerClient, 'nextKey'> }

/** The signing keys, as the log names them. */
export function createSigningKeys(deps: Deps): SigningKeys {
  const { list, follow } = signingKeysInLog(deps)
  return {
    list,
    async rotate({ principal }, { role, replaces }) {
      const verdict = authorize(principal, 'rotate-signing-key', `the ${role} key`)
      if (!verdict.allowed)
        throw new KilnError('forbidden', verdict.message, { place: verdict.rule })
      await follow({ role, fingerprint: replaces })
      return list()
    },
  }
}

/** The same without asking who may: rotation is a new list of roles in the log. */
export function signingKeysInLog({ ledger, signer }: Deps) {
  return {
    async list(): Promise<SigningKeyView[]> {
      await ledger.refresh()
      return ledger.trust().roles.map(viewOf)
    },
    /** Gives the role a new key, unless this one was followed before. Throws `not_found` when it never had it. */
    async follow({ role, fingerprint }: Pick<SigningKeyView, 'role' | 'fingerprint'>) {
      await ledger.refresh()
      demandOwn(ledger.trust(), role, fingerprint)
      await ledger.changeRoles(async (trust, at) => {
        if (fingerprintOf(currentKey(trust, role)) !== fingerprint)
          return vouching(ledger)(trust, at)
        return withNextKey(trust, roleKeyFrom(role, await signer.nextKey(role), at + 1), at)
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

function viewOf(key: RoleKey): SigningKeyView {
  const { role, validFrom, validTo } = key
  return { role, fingerprint: fingerprintOf(key), from: validFrom, to: validTo }
}
