import { hexOf, type Digest } from '../../domain/digest.ts'
import type { Fact, FactOf } from '../../domain/statement.ts'
import type { EvidenceCheck, Proven } from './proven.ts'

/** What the key's artifact is: built and sealed here, whole in the file, proved in the environment before. */
export function judgeArtifact({ evidence, statements }: Proven): readonly EvidenceCheck[] {
  const facts = statements.map(({ fact }) => fact)
  const key = facts.find((one) => one.index === evidence.index.key)
  if (key?.kind !== 'key') return [{ name: 'artifact', passed: false, detail: 'no key' }]
  const sealed = facts.find(
    (one): one is FactOf<'sealed'> => one.kind === 'sealed' && one.artifact === key.body.digest,
  )
  if (sealed === undefined) {
    return [{ name: 'sealed', passed: false, detail: 'no record that the artifact was sealed' }]
  }
  const policy = statements.find(({ index }) => index === key.index)?.signable
  return [
    judgeSealed(key, sealed),
    judgeOrigin(facts, { key, sealed }),
    ...judgeBlobs(evidence.blobs, [
      ['manifest', key.body.digest],
      ['definition', key.body.definition],
      ['policy', policy?.kind === 'key' ? policy.policy.digest : null],
      ['kiln.yaml', sealed.body.specification],
      ['files', sealed.body.files],
    ]),
    judgeProof(facts, { key, sealed }),
  ]
}

type About = { key: FactOf<'key'>; sealed: FactOf<'sealed'> }

function judgeSealed(key: FactOf<'key'>, { body, index }: FactOf<'sealed'>): EvidenceCheck {
  const app = key.body.environment.split('/', 1)[0]
  const own = key.body.environment.slice(`${app}/`.length)
  const step = body.pipeline.find(({ environment }) => environment === own)
  const passed =
    index < key.index &&
    body.app === app &&
    body.source.commit === key.body.commit &&
    body.template.lock === key.body.template &&
    step !== undefined
  const detail = `${body.app} at commit ${body.source.commit.slice(0, 12)}, template ${body.template.name} ${hexOf(body.template.lock).slice(0, 12)}`
  return { name: 'sealed', passed, detail: passed ? detail : `another artifact's: ${detail}` }
}

/** Provenance and SBOM are those that the seal names, and about this artifact. */
function judgeOrigin(facts: readonly Fact[], { key, sealed }: About): EvidenceCheck {
  const missing = (['provenance', 'sbom'] as const).filter(
    (kind) =>
      !facts.some(
        (one) =>
          one.kind === kind && one.leaf === sealed.body[kind] && one.artifact === key.body.digest,
      ),
  )
  const passed = missing.length === 0
  const detail = passed ? 'provenance and SBOM, as sealed' : `without its ${missing.join(', ')}`
  return { name: 'origin', passed, detail }
}

function judgeBlobs(
  blobs: ReadonlyMap<Digest, Uint8Array>,
  wanted: readonly (readonly [what: string, digest: Digest | null])[],
): readonly EvidenceCheck[] {
  const missing = wanted.filter(([, digest]) => digest === null || !blobs.has(digest))
  const detail =
    missing.length === 0
      ? wanted.map(([what]) => what).join(', ')
      : `without ${missing.map(([what, digest]) => `${what} ${digest ?? ''}`).join(', ')}`
  return [{ name: 'content', passed: missing.length === 0, detail }]
}

/** It served in the environment before, unless this is the first one or a return to what served here. */
function judgeProof(facts: readonly Fact[], { key, sealed }: About): EvidenceCheck {
  const name = 'proved before'
  const [app = '', own = ''] = key.body.environment.split('/')
  const at = sealed.body.pipeline.findIndex(({ environment }) => environment === own)
  const change = facts.find(
    (one) =>
      one.kind === 'change' &&
      one.body.environment === key.body.environment &&
      one.body.epoch === key.body.epoch,
  )
  if (change?.kind !== 'change') return { name, passed: false, detail: 'without its change' }
  const { changeKind, change: id } = change.body
  if (changeKind !== 'promotion') return { name, passed: true, detail: `a ${changeKind} (${id})` }
  const before = sealed.body.pipeline[at - 1]
  if (before === undefined) {
    return { name, passed: at === 0, detail: at === 0 ? 'the first environment' : 'not in it' }
  }
  const earlier = `${app}/${before.environment}`
  const proof = facts.find((one) => isActivationOf(facts, one, { earlier, key }))
  return proof === undefined
    ? { name, passed: false, detail: `no key of ${earlier} became active for it before` }
    : { name, passed: true, detail: `active in ${earlier} at entry ${proof.index}` }
}

function isActivationOf(
  facts: readonly Fact[],
  fact: Fact,
  { earlier, key }: { earlier: string; key: FactOf<'key'> },
): boolean {
  return (
    fact.kind === 'activation' &&
    fact.index < key.index &&
    fact.body.environment === earlier &&
    fact.body.outcome === 'active' &&
    fact.artifact === key.body.digest &&
    facts.some(
      (one) =>
        one.kind === 'key' &&
        one.leaf === fact.body.key &&
        one.body.digest === key.body.digest &&
        one.body.environment === earlier,
    )
  )
}
