import type { Transaction } from 'kysely'
import { canonicalJson } from '../../signing/canonical.ts'
import type { Fact, FactOf } from '../domain/statement.ts'
import type { IndexTables } from './index-schema.ts'

type Db = Transaction<IndexTables>

/**
 * Writes one more fact, in log order. A fold: the same facts always leave the same rows, whatever the
 * batches were. Void facts are on record and change nothing else.
 */
export async function foldFact(db: Db, fact: Fact, isVoid: boolean): Promise<void> {
  const body = 'body' in fact ? fact.body : {}
  await db
    .insertInto('facts')
    .values({
      index: fact.index,
      leaf: fact.leaf,
      kind: fact.kind,
      artifact: fact.artifact,
      environment: environmentIn(fact),
      time: fact.time,
      void: isVoid,
      body: Buffer.from(canonicalJson(body)).toString(),
    })
    .execute()
  if (!isVoid) await foldValid(db, fact)
}

function environmentIn(fact: Fact): string | null {
  return 'body' in fact && 'environment' in fact.body ? fact.body.environment : null
}

async function foldValid(db: Db, fact: Fact): Promise<void> {
  switch (fact.kind) {
    case 'sealed':
      return await foldSealed(db, fact)
    case 'denial':
      return await foldDenial(db, fact)
    case 'change':
      return await foldChange(db, fact)
    case 'key':
      return await foldKey(db, fact)
    case 'activation':
      return await foldActivation(db, fact)
    case 'refusal':
      return await foldRefusal(db, fact)
    case 'roles':
    case 'provenance':
    case 'sbom':
    case 'rejected':
    case 'drift':
    case 'release':
    case 'break-glass':
      return undefined
  }
}

/** The first seal of a digest stands. */
async function foldSealed(db: Db, { artifact, index, time, body }: FactOf<'sealed'>) {
  if (artifact === null) return
  const { app, build, source, template } = body
  await db
    .insertInto('artifacts')
    .values({
      digest: artifact,
      index,
      app,
      build,
      repository: source.repository,
      commit: source.commit,
      subject: source.subject,
      committed_at: source.committedAt,
      sealed_at: time,
      template: template.name,
      template_lock: template.lock,
    })
    .onConflict((conflict) => conflict.column('digest').doNothing())
    .execute()
}

async function foldDenial(db: Db, { artifact, index, time, body }: FactOf<'denial'>) {
  if (artifact === null) return
  await db
    .insertInto('denials')
    .values({ digest: artifact, index, reason: body.reason, requested_by: body.requestedBy, time })
    .onConflict((conflict) => conflict.column('digest').doNothing())
    .execute()
}

async function foldChange(db: Db, { index, time, body }: FactOf<'change'>) {
  await db
    .insertInto('changes')
    .values({
      environment: body.environment,
      epoch: body.epoch,
      index,
      change: body.change,
      kind: body.changeKind,
      digest: body.target.digest,
      from_digest: body.from?.digest ?? null,
      sequence: null,
      instances: body.instances,
      requested_by: body.requestedBy,
      reason: body.reason,
      requested_at: time,
      outcome: 'open',
      ended_at: null,
      failure_code: null,
      failure_message: null,
    })
    .execute()
  await db
    .insertInto('environments')
    .values({
      environment: body.environment,
      epoch: body.epoch,
      sequence: 0,
      active: null,
      active_sequence: null,
      instances: 0,
    })
    .onConflict((conflict) => conflict.column('environment').doUpdateSet({ epoch: body.epoch }))
    .execute()
}

async function foldKey(db: Db, { index, leaf, time, body }: FactOf<'key'>) {
  const { environment, sequence, epoch, digest, definition } = body
  await db
    .insertInto('keys')
    .values({
      environment,
      sequence,
      epoch,
      index,
      leaf,
      digest,
      definition,
      state: 'issued',
      issued_at: time,
    })
    .execute()
  await db
    .updateTable('changes')
    .set({ sequence })
    .where('environment', '=', environment)
    .where('epoch', '=', epoch)
    .execute()
  await db
    .updateTable('environments')
    .set({ sequence })
    .where('environment', '=', environment)
    .execute()
}

async function foldActivation(db: Db, { time, body }: FactOf<'activation'>) {
  const { environment, epoch, outcome, failure } = body
  const change = await db
    .updateTable('changes')
    .set({
      outcome,
      ended_at: time,
      failure_code: failure?.code ?? null,
      failure_message: failure?.message ?? null,
    })
    .where('environment', '=', environment)
    .where('epoch', '=', epoch)
    .returning(['sequence', 'digest', 'instances'])
    .executeTakeFirstOrThrow()
  if (outcome === 'active') {
    await db
      .updateTable('environments')
      .set({ instances: change.instances })
      .where('environment', '=', environment)
      .execute()
  }
  if (change.sequence === null) return
  await foldKeyOutcome(db, { environment, sequence: change.sequence, outcome })
  if (outcome === 'failed') return
  await db
    .updateTable('environments')
    .set({ active: change.digest, active_sequence: change.sequence })
    .where('environment', '=', environment)
    .execute()
}

async function foldKeyOutcome(
  db: Db,
  key: { environment: string; sequence: number; outcome: 'active' | 'failed' },
) {
  if (key.outcome === 'active') {
    await db
      .updateTable('keys')
      .set({ state: 'superseded' })
      .where('environment', '=', key.environment)
      .where('state', '=', 'active')
      .execute()
  }
  await db
    .updateTable('keys')
    .set({ state: key.outcome })
    .where('environment', '=', key.environment)
    .where('sequence', '=', key.sequence)
    .execute()
}

async function foldRefusal(db: Db, { index, time, body }: FactOf<'refusal'>) {
  const { environment, change, rule, message, requestedBy } = body
  await db
    .insertInto('refusals')
    .values({ index, environment, change, rule, message, requested_by: requestedBy, time })
    .execute()
}
