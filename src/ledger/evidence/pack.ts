import { canonicalJson } from '../../../signing/canonical.ts'
import type { LoggedBundle } from '../../../signing/bundle.ts'
import type { TrustRoot } from '../../../signing/trust.ts'
import { hexOf, type Digest } from '../../domain/digest.ts'
import { KilnError } from '../../domain/error.ts'
import { parseEnvironmentName } from '../../domain/name.ts'
import type { Fact, FactOf, Leaf } from '../../domain/statement.ts'
import { encodeName } from '../../oci/entry-name.ts'
import { noXattrs } from '../../oci/tar-entry.ts'
import { writeTar, type TarOutput } from '../../oci/tar-writer.ts'
import { encodeEntries } from '../tiles.ts'
import { chooseFacts } from './choose.ts'
import { derivedFrom } from './derived.ts'
import { blobName, names, statementName, type EvidenceIndex } from './format.ts'
import { readmeOf, scriptOf } from './script.ts'

/** What the ledger and the store must answer. */
export type EvidenceSource = {
  trust: TrustRoot
  facts: readonly Fact[]
  ledger: Parameters<typeof chooseFacts>[1]
  checkpoint: string
  /** Every entry of the log up to the checkpoint. */
  entries: readonly Uint8Array[]
  bundleOf: (leaf: Leaf) => Promise<LoggedBundle>
  /** Undefined when the store has none. */
  blob: (digest: Digest) => Promise<Uint8Array | undefined>
  /** The policy that keys are issued by, whose digest they name. */
  policies: readonly { digest: Digest; bytes: Uint8Array }[]
}

/**
 * All that it takes to judge a key without Kiln and without a network, as one tar. The same log gives
 * the same bytes but for `madeAt`. Throws `not_found` when the store lacks what the key names.
 */
export async function packEvidence(
  source: EvidenceSource,
  key: FactOf<'key'>,
  madeAt: Date,
): Promise<{ index: EvidenceIndex; bytes: Uint8Array }> {
  const facts = chooseFacts(source.facts, source.ledger, key)
  const statements = await Promise.all(
    facts.map(async (fact) => ({ fact, bundle: await source.bundleOf(fact.leaf) })),
  )
  const own = statements.find(({ fact }) => fact.leaf === key.leaf)
  if (own === undefined) throw new KilnError('not_found', 'the key is not in the log')
  const { kept, blobs } = await blobsOf(source, key)
  const index: EvidenceIndex = {
    version: 1,
    environment: key.body.environment,
    sequence: key.body.sequence,
    key: key.index,
    digest: key.body.digest,
    madeAt: madeAt.toISOString(),
    statements: facts.map((fact) => ({ index: fact.index, kind: fact.kind })),
    blobs,
  }
  const about = aboutOf(source.trust, key)
  const derived = derivedFrom(source.trust, own.bundle)
  const files: [string, Uint8Array | string][] = [
    [names.readme, readmeOf(about)],
    [names.script, scriptOf(about)],
    [names.index, `${JSON.stringify(index, null, 2)}\n`],
    [names.envelope, derived.envelope],
    [names.signer, derived.signer],
    [names.trust, `${JSON.stringify(source.trust, null, 2)}\n`],
    [names.trustedRoot, derived.trustedRoot],
    [names.checkpoint, source.checkpoint],
    [names.entries, encodeEntries(source.entries)],
    ...statements.map(({ fact, bundle }): [string, Uint8Array] => [
      statementName(fact.index, fact.kind),
      canonicalJson(bundle),
    ]),
    ...kept.map(({ digest, bytes }): [string, Uint8Array] => [blobName(digest), bytes]),
  ]
  return { index, bytes: await tarOf(files, Math.floor(madeAt.getTime() / 1000)) }
}

function aboutOf(trust: TrustRoot, key: FactOf<'key'>) {
  const { environment, digest, sequence } = key.body
  const { app, environment: own } = parseEnvironmentName(environment)
  return {
    origin: trust.origin,
    app,
    own,
    sequence,
    sha256: hexOf(digest),
    statement: statementName(key.index, key.kind),
  }
}

/** What the statements name by digest, where it says something to an auditor: layers do not. */
async function blobsOf(source: EvidenceSource, key: FactOf<'key'>) {
  const sealed = source.ledger.sealed.get(key.body.digest)?.body
  const base = sealed?.template.base
  const wanted: { what: string; digest: Digest; must: boolean }[] = [
    { what: 'manifest', digest: key.body.digest, must: true },
    { what: 'definition', digest: key.body.definition, must: true },
    ...(sealed === undefined
      ? []
      : [
          { what: 'kiln.yaml', digest: sealed.specification, must: true },
          { what: 'files', digest: sealed.files, must: true },
          { what: 'template.lock', digest: sealed.template.lock, must: false },
        ]),
    ...(base === undefined
      ? []
      : [{ what: `template.lock of ${base.name}, its base`, digest: base.lock, must: false }]),
  ]
  const kept = source.policies.map(({ digest, bytes }) => ({ what: 'policy', digest, bytes }))
  for (const { what, digest, must } of wanted) {
    const bytes = await source.blob(digest)
    if (bytes !== undefined) kept.push({ what, digest, bytes })
    else if (must) {
      throw new KilnError('not_found', `the store has no ${what}, ${digest}`, {
        fix: 'kiln fsck; what kiln gc collected comes back with kiln rebuild <digest>',
      })
    }
  }
  return { kept, blobs: kept.map(({ what, digest }) => ({ what, digest })) }
}

async function tarOf(
  files: readonly (readonly [string, Uint8Array | string])[],
  mtime: number,
): Promise<Uint8Array> {
  const outputs = files.map(([name, content]): TarOutput => {
    const body = Buffer.from(content)
    return {
      entry: {
        type: 'file',
        name: encodeName(name),
        linkname: encodeName(''),
        mode: name === names.script ? 0o755 : 0o644,
        uid: 0,
        gid: 0,
        size: body.length,
        mtime,
        device: { major: 0, minor: 0 },
        xattrs: noXattrs,
      },
      body: [body],
    }
  })
  const parts: Uint8Array[] = []
  for await (const part of writeTar(outputs)) parts.push(part)
  return Buffer.concat(parts)
}
