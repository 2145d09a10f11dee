import { z } from 'zod'
import { digestOfHex, hexOf, type Digest } from '../src/domain/digest.ts'
import { parseEnvironmentName, type EnvironmentName } from '../src/domain/name.ts'
import { predicateTypeOf, roleOf, type Role } from '../src/domain/role.ts'
import type { Fact, FactKind, Leaf } from '../src/domain/statement.ts'
import {
  activationBody,
  breakGlassBody,
  changeBody,
  driftBody,
  refusalBody,
  rejectedBody,
  releaseBody,
  sealedBody,
  time,
} from './body-schemas.ts'
import { canonicalJson, digestOf, digestOfJson } from './canonical.ts'
import { provenancePredicate, readProvenance } from './provenance.ts'
import { readSbom, sbomPredicate, sbomTime } from './sbom.ts'
import {
  checkPart,
  readStatement,
  statementType,
  wrongStatement,
  type Signable,
  type Statement,
} from './statement.ts'
import { checkTrustRoot, trustRootSchema } from './trust.ts'
import { deniedSubject, denialPredicate, readDenial } from './denial.ts'
import { keyPredicate, readKey } from './vsa.ts'

/** The in-toto statement of what shall be signed. Kiln's own predicate types live under the log's origin. */
export function buildStatement(signable: Signable, origin: string): Statement {
  const { name, sha256 } = subjectOf(signable)
  return {
    _type: statementType,
    subject: [{ name, digest: { sha256 } }],
    predicateType: predicateTypeOf(signable.kind, origin),
    predicate: predicateOf(signable, origin),
  }
}

/** The payload that is signed. */
export function statementBytes(signable: Signable, origin: string): Uint8Array {
  return canonicalJson(buildStatement(signable, origin))
}

/**
 * Reads a statement back. It must be, byte for byte, what `buildStatement` makes of what it says: an
 * unknown field, another spelling or a subject that contradicts its body is refused.
 * Throws `verification_failed` with the field in `place`.
 */
export function parseStatement(payload: Uint8Array, origin: string): Signable {
  const statement = readStatement(payload)
  const signable = readSignable(statement, origin)
  if (Buffer.compare(statementBytes(signable, origin), payload) !== 0) {
    throw wrongStatement(`it is not a canonical ${signable.kind} statement of ${origin}`)
  }
  return signable
}

/**
 * The fact of a statement whose signature and place in the log were checked; `role` is its signer's.
 * Throws `verification_failed` on anything but exactly a statement that this role may sign.
 */
export function decodeFact(logged: {
  payload: Uint8Array
  role: Role
  leaf: Leaf
  index: number
  origin: string
}): Fact {
  const signable = parseStatement(logged.payload, logged.origin)
  if (roleOf[signable.kind] !== logged.role) {
    throw wrongStatement(
      `the ${logged.role} role may not sign a ${signable.kind} statement`,
      'role',
    )
  }
  return factOf(signable, { leaf: logged.leaf, index: logged.index })
}

/** What the fold will read when the statement stands at this place in the log. */
export function factOf(signable: Signable, place: { leaf: Leaf; index: number }): Fact {
  const common = { ...place, time: timeOf(signable), artifact: artifactOf(signable) }
  switch (signable.kind) {
    case 'roles':
    case 'sbom':
      return { ...common, kind: signable.kind }
    case 'provenance': {
      const { build, app, source, template } = signable.provenance
      return {
        ...common,
        kind: 'provenance',
        body: { build, app, commit: source.commit, template },
      }
    }
    case 'sealed':
      return { ...common, kind: 'sealed', body: signable.body }
    case 'rejected':
      return { ...common, kind: 'rejected', body: signable.body }
    case 'change':
      return { ...common, kind: 'change', body: signable.body }
    case 'key':
      return { ...common, kind: 'key', body: signable.body }
    case 'activation':
      return { ...common, kind: 'activation', body: signable.body }
    case 'drift':
      return { ...common, kind: 'drift', body: signable.body }
    case 'release':
      return { ...common, kind: 'release', body: signable.body }
    case 'refusal':
      return { ...common, kind: 'refusal', body: signable.body }
    case 'break-glass':
      return { ...common, kind: 'break-glass', body: signable.body }
    case 'denial':
      return { ...common, kind: 'denial', body: signable.body }
  }
}

function timeOf(signable: Signable): string {
  return signable.kind === 'sbom' ? sbomTime(signable) : signable.time
}

export function artifactOf(signable: Signable): Digest | null {
  switch (signable.kind) {
    case 'roles':
    case 'rejected':
      return null
    case 'change':
      return signable.body.target.digest
    case 'key':
      return signable.body.digest
    case 'provenance':
    case 'sbom':
    case 'sealed':
    case 'activation':
    case 'drift':
    case 'release':
    case 'refusal':
    case 'break-glass':
    case 'denial':
      return signable.artifact
  }
}

type Subject = { name: string; sha256: string }

/** An artifact goes by its app's name; what is about no artifact names what it is about, with a prefix no app can have. */
function subjectOf(signable: Signable): Subject {
  const artifact = artifactOf(signable)
  switch (signable.kind) {
    case 'roles':
      return { name: 'roles:', sha256: hexOf(digestOfJson(signable.trust)) }
    case 'rejected':
      return { name: signable.body.build, sha256: signable.body.build.slice('build:'.length) }
    case 'provenance':
      return { name: signable.provenance.app, sha256: hexOf(signable.artifact) }
    case 'sealed':
      return { name: signable.body.app, sha256: hexOf(signable.artifact) }
    case 'sbom':
      return { name: signable.app, sha256: hexOf(signable.artifact) }
    case 'denial':
      return deniedSubject(signable)
    case 'change':
    case 'key':
    case 'activation':
    case 'drift':
    case 'release':
    case 'refusal':
    case 'break-glass':
      return environmentSubject(signable.body.environment, artifact)
  }
}

function environmentSubject(name: EnvironmentName | null, artifact: Digest | null): Subject {
  if (artifact !== null) {
    const app = name === null ? 'artifact' : parseEnvironmentName(name).app
    return { name: app, sha256: hexOf(artifact) }
  }
  const about = `environment:${name ?? ''}`
  return { name: about, sha256: hexOf(digestOf(Buffer.from(about))) }
}

function subjectArtifact(statement: Statement): Digest | null {
  const [{ name, digest }] = statement.subject
  return name.includes(':') ? null : digestOfHex(digest.sha256)
}

function predicateOf(signable: Signable, origin: string): object {
  switch (signable.kind) {
    case 'roles':
      return { time: signable.time, trust: signable.trust }
    case 'provenance':
      return provenancePredicate(signable, origin)
    case 'sbom':
      return sbomPredicate(signable)
    case 'key':
      return keyPredicate(signable, origin)
    case 'denial':
      return denialPredicate(signable, origin)
    case 'sealed':
    case 'rejected':
    case 'change':
    case 'activation':
    case 'drift':
    case 'release':
    case 'refusal':
    case 'break-glass':
      return { time: signable.time, ...signable.body }
  }
}

const rolesSchema = z.strictObject({ time, trust: trustRootSchema })

function readRoles(statement: Statement): Signable {
  const roles = checkPart(rolesSchema, statement.predicate, 'predicate')
  return { kind: 'roles', time: roles.time, trust: checkTrustRoot(roles.trust) }
}

/** Kiln's own predicates: the time, and the body's fields beside it. */
function readTimed<T extends object>(
  statement: Statement,
  schema: z.ZodType<T>,
): { time: string; body: T } {
  const { time: at, ...body } = { time: undefined, ...statement.predicate }
  return {
    time: checkPart(time, at, 'predicate.time'),
    body: checkPart(schema, body, 'predicate'),
  }
}

function readSignable(statement: Statement, origin: string): Signable {
  const kind = kindOf(statement, origin)
  const artifact = subjectArtifact(statement)
  switch (kind) {
    case 'roles':
      return readRoles(statement)
    case 'provenance':
      return readProvenance(statement)
    case 'sbom':
      return readSbom(statement)
    case 'key':
      return readKey(statement, origin)
    case 'denial':
      return readDenial(statement, origin)
    case 'sealed':
      if (artifact === null) throw wrongStatement('no artifact', 'subject')
      return { kind, artifact, ...readTimed(statement, sealedBody) }
    case 'rejected':
      return { kind, ...readTimed(statement, rejectedBody) }
    case 'change':
      return { kind, ...readTimed(statement, changeBody) }
    case 'activation':
      return { kind, artifact, ...readTimed(statement, activationBody) }
    case 'drift':
      return { kind, artifact, ...readTimed(statement, driftBody) }
    case 'release':
      return { kind, artifact, ...readTimed(statement, releaseBody) }
    case 'refusal':
      return { kind, artifact, ...readTimed(statement, refusalBody) }
    case 'break-glass':
      return { kind, artifact, ...readTimed(statement, breakGlassBody) }
  }
}

/** Predicate types that two kinds share are told apart by what the statement says. */
function kindOf(statement: Statement, origin: string): FactKind {
  const kinds = (Object.keys(roleOf) as FactKind[]).filter(
    (kind) => predicateTypeOf(kind, origin) === statement.predicateType,
  )
  const [only] = kinds
  if (only !== undefined && kinds.length === 1) return only
  const said: Record<string, unknown> = { ...statement.predicate }
  const shared: readonly [FactKind, boolean][] = [
    ['sealed', said['state'] === 'sealed'],
    ['rejected', said['state'] === 'rejected'],
    ['key', said['verificationResult'] === 'PASSED'],
    ['denial', said['verificationResult'] === 'FAILED'],
  ]
  const found = shared.find(([kind, says]) => says && kinds.includes(kind))
  if (found === undefined) throw wrongStatement('not a kind that Kiln knows', 'predicateType')
  return found[0]
}
