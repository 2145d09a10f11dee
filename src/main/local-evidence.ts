import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import pino from 'pino'
import { readTrust } from '../../signing/trust-files.ts'
import type { EvidenceReport, VerifyReport } from '../cli/local-port.ts'
import { KilnError } from '../domain/error.ts'
import { environmentOf } from '../domain/ledger.ts'
import { parseEnvironmentName } from '../domain/name.ts'
import type { FactOf } from '../domain/statement.ts'
import { judgeEvidence } from '../ledger/evidence/judge.ts'
import { packEvidence } from '../ledger/evidence/pack.ts'
import { readEvidence } from '../ledger/evidence/read.ts'
import { logEntries } from '../ledger/log-objects.ts'
import { promotionPolicy, promotionPolicyDigest } from '../promote/policy.ts'
import { blobKey } from '../store/blob-store.ts'
import { replaceFile } from '../store/replace-file.ts'
import type { Config } from './config.ts'
import { openLedgerView, type LedgerView } from './ledger-view.ts'
import { pinnedRoot } from './pinned-root.ts'

/** Writes the evidence for a key, `<app>/<environment>` or with `@<sequence>`, to a file. */
export async function localEvidence(
  config: Config,
  what: string,
  { folder, file, now }: { folder: string; file: string | undefined; now: Date },
): Promise<EvidenceReport> {
  const view = await openLedgerView(config.paths, pino({ level: 'silent' }), {
    place: config.store,
    root: config.root,
  })
  const ledger = await view.reader.refresh()
  const key = keyNamed(view, what)
  const head = view.reader.checkpoint()
  if (head === null) throw new KilnError('not_found', 'the log is empty')
  const entries = await logEntries(view.store, head.size)
  const { index, bytes } = await packEvidence(
    {
      trust: view.reader.trust(),
      facts: view.reader.facts(),
      ledger,
      checkpoint: head.note,
      entries,
      bundleOf: (leaf) => view.reader.bundleOf(leaf),
      blob: (digest) => view.store.get(blobKey(digest)),
      policies: [{ digest: promotionPolicyDigest, bytes: promotionPolicy.bytes }],
    },
    key,
    now,
  )
  const { environment, sequence } = key.body
  const standard = `${environment.replace('/', '-')}-${sequence}.evidence.tar`
  const path = resolve(folder, file ?? standard)
  await replaceFile(path, bytes, 0o644)
  return {
    file: path,
    bytes: bytes.length,
    subject: `${environment}@${sequence}`,
    digest: key.body.digest,
    statements: index.statements.length,
    entries: entries.length,
    root: await pinnedRoot(config.paths, view.reader.trust(), config.root),
  }
}

function keyNamed({ reader }: LedgerView, what: string): FactOf<'key'> {
  const [name = '', at] = what.split('@')
  const { name: environment } = parseEnvironmentName(name)
  const key =
    at === undefined
      ? environmentOf(reader.ledger(), environment).active
      : reader.keyOf(environment, Number(at))
  if (key !== null && key !== undefined) return key
  const which = at === undefined ? 'active key' : `key ${at}`
  throw new KilnError('not_found', `${environment} has no ${which}`, {
    fix: `kiln history ${environment}`,
  })
}

/**
 * Judges a file of evidence without a store and a network. Without `root` the root of this machine's
 * own Kiln counts, if there is one.
 */
export async function localJudge(
  config: Config,
  path: string,
  root: string | undefined,
): Promise<VerifyReport> {
  const evidence = await readEvidence(createReadStream(path))
  const pinned = root ?? (await ownRoot(config))
  const { subject, checks } = judgeEvidence(evidence, pinned)
  return { subject, checks, command: null }
}

async function ownRoot({ paths, root }: Config): Promise<string | null> {
  if (root !== undefined) return root
  try {
    return await pinnedRoot(paths, await readTrust(paths.trust))
  } catch (error) {
    if (error instanceof KilnError && error.code === 'prerequisite_missing') return null
    throw error
  }
}
