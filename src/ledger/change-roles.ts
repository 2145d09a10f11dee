import type { TrustRoot } from '../../signing/trust.ts'
import type { LoggedBundle } from '../../signing/bundle.ts'
import type { Signable } from '../../signing/statement.ts'
import { KilnError } from '../domain/error.ts'
import type { LedgerReader } from './ledger-reader.ts'

/** The list that shall follow `trust` when its statement stands at log index `at`; null when nothing is to be said. */
export type NextRoles = (trust: TrustRoot, at: number) => Promise<TrustRoot | null>

export type RoleSteps = {
  reader: LedgerReader
  /** The statement's place in the log, or null when the index was taken meanwhile. */
  append: (id: string, signable: Signable, at: number) => Promise<number | null>
  signer: RolesSigner
  now: () => Date
}

export type RolesSigner = {
  /** Log index of the last list of roles that the signer knows of; -1 before the first. */
  rolesAt(): Promise<number>
  takeRoles(bundle: LoggedBundle): Promise<void>
}

/** How often a list is made anew because something else was logged first. */
const maxTries = 20

/**
 * Logs the next list of roles at exactly the index that its ranges name, and has the signer take it. Again
 * after a crash anywhere: a list that was signed for the log's next index is logged first, whoever asked
 * for it, then what is still to be said.
 */
export async function changeRoles(steps: RoleSteps, next: NextRoles): Promise<void> {
  const { reader, append, signer, now } = steps
  for (let attempt = 1; attempt <= maxTries; attempt += 1) {
    await reader.refresh()
    await tellRoles(reader, signer)
    const at = reader.checkpoint()?.size ?? 0
    const trust = await next(reader.trust(), at)
    if (trust === null) return
    const signable = { kind: 'roles', time: now().toISOString(), trust } as const
    await append(rolesDecision(trust.origin, at), signable, at)
  }
  throw new KilnError('lost_race', 'the log went on each time that the list of roles was signed')
}

/** The first list has the name that releases before ranges gave it. */
export function rolesDecision(origin: string, at: number): string {
  return at === 0 ? `roles ${origin}` : `roles ${origin} ${at}`
}

/** Tells the signer of every list in the log that it does not know, in log order: from then on it signs by the last. */
export async function tellRoles(reader: LedgerReader, signer: RolesSigner): Promise<void> {
  const known = await signer.rolesAt()
  for (const index of reader.roles().counted.filter((one) => one > known)) {
    const [fact] = reader.facts(index)
    if (fact?.index === index) await signer.takeRoles(await reader.bundleOf(fact.leaf))
  }
}
