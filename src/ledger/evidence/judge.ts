import { toBase64 } from '../../../signing/base64.ts'
import { digestOfJson } from '../../../signing/canonical.ts'
import { verifyCheckpoint, type Checkpoint } from '../../../signing/checkpoint.ts'
import { leafName, parseLeaf } from '../../../signing/leaf.ts'
import { leafHash, rootOf } from '../../../signing/merkle.ts'
import { publicKeyOf } from '../../../signing/public-key.ts'
import { demandRoot, startHistory, takeRoles } from '../../../signing/role-history.ts'
import {
  checkTrustRoot,
  derOf,
  fingerprintOf,
  isValidAt,
  type TrustRoot,
} from '../../../signing/trust.ts'
import { verifyBundle, type VerifiedBundle } from '../../../signing/verify.ts'
import { KilnError } from '../../domain/error.ts'
import type { Role } from '../../domain/role.ts'
import type { FactKind } from '../../domain/statement.ts'
import { derivedFrom } from './derived.ts'
import { judgeArtifact } from './judge-artifact.ts'
import { judgeKey } from './judge-key.ts'
import type { EvidenceCheck, Proven } from './proven.ts'
import { names, statementName, type Evidence } from './format.ts'

/**
 * Judges a file of evidence by itself: pure, no clock, no network. `root` is the fingerprint of the
 * root key that the caller was told elsewhere (`sha256:<hex>`), null when they were not: then the
 * answer is no, and says which root the file names. A check that cannot be made is a no.
 */
export function judgeEvidence(
  evidence: Evidence,
  root: string | null,
): { subject: string; checks: readonly EvidenceCheck[] } {
  const subject = `${evidence.index.environment}@${evidence.index.sequence}`
  const checks: EvidenceCheck[] = []
  const check = <T>(name: string, run: () => { value: T; detail: string }): T | null => {
    try {
      const { value, detail } = run()
      checks.push({ name, passed: true, detail })
      return value
    } catch (error) {
      const detail = error instanceof Error ? error.message : 'it could not be checked'
      checks.push({ name, passed: false, detail })
      return null
    }
  }
  const trust = check('root', () => rootOfTrust(evidence, root))
  if (trust === null) return { subject, checks }
  const checkpoint = check('log', () => wholeLog(evidence, trust))
  if (checkpoint === null) return { subject, checks }
  const statements = check('statements', () => verified(evidence, trust, checkpoint))
  if (statements === null) return { subject, checks }
  check('roles', () => rolesLogged(evidence, { trust, root }, statements))
  check('denials', () => denialsComplete(evidence, trust, statements))
  check('for other tools', () => derivedSame(evidence, trust))
  const proven: Proven = { evidence, trust, checkpoint, statements }
  return { subject, checks: [...checks, ...judgeKey(proven), ...judgeArtifact(proven)] }
}

function no(message: string): KilnError {
  return new KilnError('verification_failed', message)
}

/** Of the root keys that a list names; one of them is what a verifier must know beforehand. */
export function rootFingerprints(trust: TrustRoot): readonly string[] {
  return trust.roles.filter(({ role }) => role === 'root').map(fingerprintOf)
}

function rootOfTrust(evidence: Evidence, root: string | null) {
  const trust = checkTrustRoot(evidence.trust)
  const found = rootFingerprints(trust)
  if (root === null) {
    throw no(
      `the file names the root ${found.join(', ')}; if that is what you were told: --root ${found[0] ?? ''}`,
    )
  }
  if (!found.includes(root)) throw no(`found ${found.join(', ')}, wanted ${root}`)
  return { value: trust, detail: `${root}, as pinned` }
}

/** The checkpoint is the log's, and the entries are all that are below it. */
function wholeLog({ checkpoint: note, entries }: Evidence, trust: TrustRoot) {
  const publicKey = publicKeyOf(derOf(trust.logKey))
  const checkpoint = verifyCheckpoint(note, { origin: trust.origin, publicKey })
  if (entries.length !== checkpoint.size) {
    throw no(`${entries.length} entries, the checkpoint signs ${checkpoint.size}`)
  }
  if (Buffer.compare(rootOf(entries.map(leafHash)), checkpoint.root) !== 0) {
    throw no('the entries are not those that the checkpoint signs')
  }
  const detail = `${checkpoint.size} entries, all of them, under the checkpoint that ${trust.origin} signed`
  return { value: checkpoint, detail }
}

/** Each statement is signed by its role, and stands at its place in this very log. */
function verified(evidence: Evidence, trust: TrustRoot, checkpoint: Checkpoint) {
  const value: VerifiedBundle[] = []
  let last = -1
  for (const { index, kind } of evidence.index.statements) {
    const place = statementName(index, kind)
    if (index <= last) throw no(`${names.index}: ${place} is out of the log's order`)
    last = index
    const bundle = evidence.statements.get(index)
    if (bundle === undefined) throw no(`${place} is missing`)
    const one = verifyBundle(bundle, trust, { kind: kind as FactKind })
    const entry = evidence.entries[index]
    if (one.index !== index || entry === undefined || leafName(entry) !== one.leaf) {
      throw no(`${place} is not the log's entry ${index}`)
    }
    if (Buffer.compare(one.checkpoint.root, checkpoint.root) !== 0) {
      throw no(`${place} is proved against another checkpoint`)
    }
    value.push(one)
  }
  return { value, detail: `${value.length}, each signed by its role, each the log's own entry` }
}

/**
 * The root said in the log who may sign as what: each list follows the one before, none is left out, and
 * the pinned root signed one of them. That the lists name it proves nothing.
 */
function rolesLogged(
  evidence: Evidence,
  { trust, root }: { trust: TrustRoot; root: string | null },
  statements: readonly VerifiedBundle[],
) {
  let history = startHistory(trust)
  for (const { signable, key, index } of statements) {
    if (signable.kind !== 'roles') continue
    history = takeRoles(history, { trust: signable.trust, by: key, index })
  }
  if (history.at < 0) throw no('no statement of the root says who may sign')
  if (digestOfJson(history.trust) !== digestOfJson(trust)) {
    throw no(`${names.trust} is not what the root said last`)
  }
  demandRoot(history, root ?? '')
  const { missing } = shownOf('root', { evidence, trust, statements })
  if (missing !== null) throw no(`entry ${missing} is by the root, and its statement is left out`)
  return { value: true, detail: `as the root said at entry ${history.at}` }
}

function denialsComplete(
  evidence: Evidence,
  trust: TrustRoot,
  statements: readonly VerifiedBundle[],
) {
  const { count, missing } = shownOf('deny', { evidence, trust, statements })
  if (missing !== null) throw no(`entry ${missing} is a denial, and its statement is left out`)
  return { value: true, detail: `${count}, none left out` }
}

/**
 * Entries name the key that signed them: one by a role's key, in its range, without its statement was left
 * out. What a key says outside of its range counts for nothing.
 */
function shownOf(
  role: Role,
  {
    evidence,
    trust,
    statements,
  }: { evidence: Evidence; trust: TrustRoot; statements: readonly VerifiedBundle[] },
): { count: number; missing: number | null } {
  const keys = trust.roles.filter((key) => key.role === role)
  const shown = new Set(statements.map(({ index }) => index))
  const own = [...evidence.entries.entries()].flatMap(([index, entry]) => {
    const signer = signerOf(entry)
    return keys.some((key) => key.publicKey === signer && isValidAt(key, index)) ? [index] : []
  })
  return { count: own.length, missing: own.find((index) => !shown.has(index)) ?? null }
}

/** What verify.sh hands to other tools is made of what was judged here. */
function derivedSame({ index, statements, derived }: Evidence, trust: TrustRoot) {
  const key = statements.get(index.key)
  if (key === undefined) throw no('the file does not hold the key it is about')
  const wanted = derivedFrom(trust, key)
  const [other] = (['envelope', 'signer', 'trustedRoot'] as const).filter(
    (name) => Buffer.compare(derived[name], wanted[name]) !== 0,
  )
  if (other !== undefined) throw no(`${names[other]} is another than the statements say`)
  return { value: true, detail: `${names.envelope}, ${names.signer}, ${names.trustedRoot}` }
}

/** Base64 of the SPKI that an entry names; empty for what is no entry of a signature. */
function signerOf(entry: Uint8Array): string {
  try {
    return toBase64(parseLeaf(entry).publicKey)
  } catch {
    return ''
  }
}
