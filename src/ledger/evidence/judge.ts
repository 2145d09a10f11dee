import { toBase64 } from '../../../signing/base64.ts'
import { digestOfJson } from '../../../signing/canonical.ts'
import { verifyCheckpoint, type Checkpoint } from '../../../signing/checkpoint.ts'
import { leafName, parseLeaf } from '../../../signing/leaf.ts'
import { leafHash, rootOf } from '../../../signing/merkle.ts'
import { publicKeyOf } from '../../../signing/public-key.ts'
import { checkTrustRoot, derOf, type TrustRoot } from '../../../signing/trust.ts'
import { verifyBundle, type VerifiedBundle } from '../../../signing/verify.ts'
import { KilnError } from '../../domain/error.ts'
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
  check('roles', () => rolesLogged(trust, statements))
  check('denials', () => denialsComplete(evidence, trust, statements))
  check('for other tools', () => derivedSame(evidence, trust))
  const proven: Proven = { evidence, trust, checkpoint, statements }
  return { subject, checks: [...checks, ...judgeKey(proven), ...judgeArtifact(proven)] }
}

function no(message: string): KilnError {
  return new KilnError('verification_failed', message)
}

/** SHA-256 of the root key's SPKI; the one thing that a verifier must know beforehand. */
export function rootFingerprints(trust: TrustRoot): readonly string[] {
  return trust.roles
    .filter(({ role }) => role === 'root')
    .map(({ keyHint }) => `sha256:${Buffer.from(keyHint, 'base64').toString('hex')}`)
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

/** The root key itself said, in the log, who may sign as what. */
function rolesLogged(trust: TrustRoot, statements: readonly VerifiedBundle[]) {
  const said = statements.filter(({ signable }) => signable.kind === 'roles').at(-1)
  if (said?.signable.kind !== 'roles') throw no('no statement of the root says who may sign')
  if (digestOfJson(said.signable.trust) !== digestOfJson(trust)) {
    throw no(`${names.trust} is not what the root said last`)
  }
  return { value: true, detail: `as the root said at entry ${said.index}` }
}

/** Entries name the key that signed them: one by a deny key without its statement was left out. */
function denialsComplete(
  evidence: Evidence,
  trust: TrustRoot,
  statements: readonly VerifiedBundle[],
) {
  const denying = new Set(
    trust.roles.filter(({ role }) => role === 'deny').map(({ publicKey }) => publicKey),
  )
  const shown = new Set(statements.map(({ index }) => index))
  let count = 0
  for (const [index, entry] of evidence.entries.entries()) {
    if (!denying.has(signerOf(entry))) continue
    count += 1
    if (!shown.has(index)) throw no(`entry ${index} is a denial, and its statement is left out`)
  }
  return { value: true, detail: `${count}, none left out` }
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
