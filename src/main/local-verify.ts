import { cosignCommand } from '../../signing/cosign.ts'
import { publicKeyFile } from '../../signing/trust-files.ts'
import { roleKeyOf } from '../../signing/trust.ts'
import type { VerifyReport } from '../cli/local-port.ts'
import { hexOf, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Ledger } from '../domain/ledger.ts'
import { parseEnvironmentName } from '../domain/name.ts'
import type { FactOf } from '../domain/statement.ts'
import { verifyBundle } from '../../signing/verify.ts'
import type { Config } from './config.ts'
import type { LedgerView } from './ledger-view.ts'
import { openOwnView } from './own-memory.ts'
import { keyAsked, verifiedKey } from './verified-key.ts'

/**
 * Verifies a key or an artifact from the folder alone: no server, no network. `what` is a digest or its
 * beginning, `<app>/<environment>` for its active key, or `<app>/<environment>@<sequence>`.
 */
export async function localVerify(
  config: Config,
  what: string,
  root = config.root,
): Promise<VerifyReport> {
  const view = await openOwnView({ ...config, root })
  const { seen } = view.memory
  const ledger = await view.reader.refresh()
  const log = {
    name: 'log',
    passed: true,
    detail: `${ledger.size} entries, each checked under the checkpoint that ${config.origin} signed`,
  }
  const before = {
    name: 'seen before',
    passed: true,
    detail:
      seen === null
        ? 'nothing was seen here before; the next time this log must be its beginning'
        : `continues the log of ${seen.size} entries that was seen here before`,
  }
  const report = what.includes('/')
    ? await verifyEnvironment({ config, view, ledger }, what)
    : await verifyArtifact({ config, view, ledger }, what)
  return { ...report, checks: [log, before, ...report.checks] }
}

type Around = { config: Config; view: LedgerView; ledger: Ledger }

async function verifyEnvironment(
  { config, view, ledger }: Around,
  what: string,
): Promise<VerifyReport> {
  const [name = '', at] = what.split('@')
  const { name: environment } = parseEnvironmentName(name)
  const facts = { reader: view.reader, ledger }
  const key = keyAsked(facts, environment, at === undefined ? undefined : Number(at))
  const { subject, checks } = await verifiedKey(facts, key)
  return { subject, checks, command: await commandFor({ config, view }, key.body.digest, key) }
}

async function verifyArtifact(
  { config, view, ledger }: Around,
  what: string,
): Promise<VerifyReport> {
  const sealed = sealedBeginningWith(ledger, what)
  const digest = sealed.artifact
  if (digest === null) throw new KilnError('ledger_corrupt', 'a sealed record names no artifact')
  const { provenance, sbom } = sealed.body
  const statements = [
    { name: 'provenance', leaf: provenance, kind: 'provenance' },
    { name: 'sbom', leaf: sbom, kind: 'sbom' },
    { name: 'sealed', leaf: sealed.leaf, kind: 'sealed' },
  ] as const
  const checks: { name: string; passed: boolean; detail: string }[] = []
  for (const { name, leaf, kind } of statements) {
    checks.push({ name, ...(await checkStatement(view, leaf, { kind, subject: digest })) })
  }
  const denial = ledger.denied.get(digest)
  checks.push({
    name: 'not denied',
    passed: denial === undefined,
    detail: denial === undefined ? 'no denial' : `denied: ${denial.body.reason}`,
  })
  const promoted = [...ledger.environments.values()]
    .flatMap(({ good }) => good)
    .findLast((key) => key.body.digest === digest)
  const command =
    promoted === undefined ? null : await commandFor({ config, view }, digest, promoted)
  return { subject: digest, checks, command }
}

async function checkStatement(
  { reader }: LedgerView,
  leaf: string,
  wanted: { kind: 'provenance' | 'sbom' | 'sealed'; subject: Digest },
): Promise<{ passed: boolean; detail: string }> {
  try {
    verifyBundle(await reader.bundleOf(leaf), reader.trust(), wanted)
    return {
      passed: true,
      detail: `signed, logged, about this artifact (leaf ${leaf.slice(0, 12)})`,
    }
  } catch (error) {
    return { passed: false, detail: error instanceof Error ? error.message : 'cannot be checked' }
  }
}

function sealedBeginningWith(ledger: Ledger, text: string): FactOf<'sealed'> {
  const hex = text.replace(/^sha256:/, '')
  if (!/^[0-9a-f]{6,64}$/.test(hex)) {
    throw new KilnError(
      'invalid_input',
      `neither a digest nor an environment: ${JSON.stringify(text.slice(0, 80))}`,
      {
        fix: 'kiln verify <digest>, kiln verify <app>/<environment> or kiln verify <app>/<environment>@<sequence>',
      },
    )
  }
  const found = [...ledger.sealed.entries()].filter(([digest]) => hexOf(digest).startsWith(hex))
  const [first] = found
  if (first === undefined) throw new KilnError('not_found', `no sealed artifact begins with ${hex}`)
  if (found.length > 1) {
    throw new KilnError(
      'ambiguous',
      `${hex} begins ${found.length} digests: ${found.map(([digest]) => digest).join(', ')}`,
    )
  }
  return first[1]
}

/** The same check with somebody else's tool, by the signing key that this provisioning key was signed with. */
async function commandFor(
  { config, view: { reader } }: Pick<Around, 'config' | 'view'>,
  digest: Digest,
  key: FactOf<'key'>,
): Promise<string> {
  const { hint } = (await reader.bundleOf(key.leaf)).verificationMaterial.publicKey
  const signer = roleKeyOf(reader.trust(), hint)
  const { app } = parseEnvironmentName(key.body.environment)
  const reference = `127.0.0.1:${config.ports.registry}/${app}@${digest}`
  return cosignCommand({
    trust: config.paths.trust,
    key: signer === null ? 'promote.pub' : publicKeyFile(signer),
    reference,
    dockerConfig: config.paths.dockerConfig,
  })
}
